/* Arithmetic of pixel-basis PSF models: models evaluated, one model resampled.
 *
 * Plain C on contiguous arrays, no allocation, no state.  Everything is summed in a fixed order, so a stamp
 * depends on its own model and position only, on any CPU.
 */
#ifndef SHAPEMPI_PSF_H
#define SHAPEMPI_PSF_H

#include <stddef.h>

/* Terms x^p y^q of a polynomial in the order of PsfModel.coefficients; NaN where x or y is not finite. */
void psf_terms(int degree, double x, double y, double *terms);

/* models[i] = sum over k of terms[i, k] coefficients[k]: terms [n, n_coef], coefficients [n_coef, n_pixel],
 * models [n, n_pixel].  A model's bits do not depend on n. */
void psf_evaluate(const double *coefficients, ptrdiff_t n_coef, ptrdiff_t n_pixel, const double *terms, ptrdiff_t n,
                  double *models);

/* Doubles of scratch that psf_resample needs for models of mx columns and stamps of `size` pixels. */
ptrdiff_t psf_scratch_size(ptrdiff_t mx, ptrdiff_t size);

/* Resample a model [my, mx] with pixels of `sampling` image pixels into a stamp [size, size] of unit sum.
 *
 * `interpolant` is a number of psf_taps.h.  The model is zero outside its grid.  A stamp whose sum is not positive
 * and finite becomes all zero. */
void psf_resample(const double *model, ptrdiff_t my, ptrdiff_t mx, double sampling, double dx, double dy,
                  ptrdiff_t size, int interpolant, double *scratch, double *stamp);

#endif
