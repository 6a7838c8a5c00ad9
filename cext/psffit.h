/* Stars as sums of basis images, resampled to where each star is, and back: a linear map and its transpose. */
#ifndef SHAPEMPI_PSFFIT_H
#define SHAPEMPI_PSFFIT_H

#include <stddef.h>
#include <stdint.h>

/* Samples of the model that a pixel is made of, along one axis. */
#define PSFFIT_TAPS 12

/* One axis of one star: pixel j is the sum of weight[j PSFFIT_TAPS + k] times sample first[j] + k, all of which exist. */
struct psffit_axis {
    const int32_t *first;
    const double *weight;
    ptrdiff_t n_pixel, n_sample;
};

/* Fill an axis whose star lies `offset` pixels from the centre of the stamp, with the interpolant `kind` of psf_taps.h.
 * An offset that is no number or leads away gives weights of zero. */
void psffit_taps(int kind, ptrdiff_t n_pixel, ptrdiff_t n_sample, double sampling, double offset, int32_t *first,
                 double *weight);

/* Doubles of scratch memory for the functions below. */
ptrdiff_t psffit_scratch_size(ptrdiff_t n_y, ptrdiff_t n_x, ptrdiff_t m_y, ptrdiff_t m_x);

/* stamp [n_y, n_x] = the star with these polynomial terms; basis [n_coef, m_x, m_y], turned. */
void psffit_draw(const double *basis, ptrdiff_t n_coef, const double *terms, const struct psffit_axis *y,
                 const struct psffit_axis *x, double *scratch, double *stamp);

/* basis += the transpose of psffit_draw at stamp. */
void psffit_add(const double *stamp, ptrdiff_t n_coef, const double *terms, const struct psffit_axis *y,
                const struct psffit_axis *x, double *scratch, double *basis);

/* stamp *= factor */
void psffit_multiply(const double *factor, ptrdiff_t n, double *stamp);

#endif
