/* Weights of the interpolation of a sampled function: Lanczos kernels, and the sinc in a Kaiser window. */
#ifndef SHAPEMPI_PSF_TAPS_H
#define SHAPEMPI_PSF_TAPS_H

#include <stddef.h>

/* Most samples that a value is made of, and room for them in full vectors. */
#define PSF_TAPS_MOST 14
#define PSF_TAPS_ROOM 16

/* Interpolants by number, in the order of psf_interpolant_name. */
#define PSF_INTERPOLANTS 5

/* The name of an interpolant; NULL beyond the last. */
const char *psf_interpolant_name(int interpolant);

/* The samples that the values of a row of stamp pixels are made of: sample first + k has weight[k], for n samples.
 *
 * On a sample n is 1.  `first` may lie outside the row. */
struct psf_taps {
    ptrdiff_t first, n;
    double weight[PSF_TAPS_ROOM];
};

/* The positions of stamp pixels on one axis of a model: pixel 0 at `start`, one more every `step` samples.
 *
 * Where the step is a whole number of samples all pixels have the same weights, which are in `shared`. */
struct psf_axis {
    int interpolant;
    ptrdiff_t n_sample, whole_step;
    double offset, sampling, half_model, half_stamp;
    struct psf_taps shared;
};

/* Make the axis of a stamp of `size` pixels whose centre lies `offset` before the centre of a model of n_sample
 * samples, each `sampling` pixels.  Returns 0 if the stamp is nowhere near the model or the offset no number. */
int psf_axis_make(int interpolant, ptrdiff_t n_sample, double sampling, double offset, ptrdiff_t size,
                  struct psf_axis *axis);

/* The samples of one stamp pixel that are inside the model. */
void psf_axis_taps(const struct psf_axis *axis, ptrdiff_t pixel, struct psf_taps *taps);

#endif
