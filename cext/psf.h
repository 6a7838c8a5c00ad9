/* Arithmetic of a pixel-basis PSF model: one model evaluated, one model resampled.
 *
 * Plain C on contiguous arrays, no allocation, no state.  Everything is summed in a fixed order, so a stamp
 * depends on its own model and position only, on any CPU.
 */
#ifndef SHAPEMPI_PSF_H
#define SHAPEMPI_PSF_H

#include <stddef.h>

/* model[i] = sum over q, p of x^p y^q basis_k[i], terms in the order of PsfModel.coefficients; NaN where x or y
 * is not finite. */
void psf_evaluate(const double *coefficients, ptrdiff_t n_pixel, int degree, double x, double y, double *model);

/* Doubles of scratch that psf_resample needs for models of mx columns and stamps of `size` pixels. */
ptrdiff_t psf_scratch_size(ptrdiff_t mx, ptrdiff_t size);

/* Resample a model [my, mx] with pixels of `sampling` image pixels into a stamp [size, size] of unit sum.
 *
 * The model is zero outside its grid.  A stamp whose sum is not positive and finite becomes all zero. */
void psf_resample(const double *model, ptrdiff_t my, ptrdiff_t mx, double sampling, double dx, double dy,
                  ptrdiff_t size, double *scratch, double *stamp);

#endif
