/* One object on one CCD made ready for metacalibration: what is usable, how noisy it is, what fills its holes. */
#ifndef SHAPEMPI_EPOCH_H
#define SHAPEMPI_EPOCH_H

#include <stddef.h>
#include <stdint.h>

/* Count usable pixels: flag 0, weight positive and finite, value finite; sound ones, which are usable but for the bits
 * `given_up` of their flag; pixels within the radius of the core and usable ones among these.  psf_sum is NaN if the
 * PSF cannot be divided by its sum. */
void epoch_inspect(const float *image, const float *weight, const int32_t *flag, ptrdiff_t ny, ptrdiff_t nx,
                   const double *psf, ptrdiff_t n_psf, const double jacobian[4], const double offset[2],
                   double core_radius, int32_t given_up, int32_t *n_good, int32_t *n_sound, int32_t *n_core,
                   int32_t *n_core_good, double *psf_sum);

/* Copy a stamp in double precision; pixels that are not usable get 0 in image and weight, the PSF the sum 1. */
void epoch_take(const float *image, const float *weight, const int32_t *flag, ptrdiff_t n, const double *psf,
                ptrdiff_t n_psf, double psf_sum, double *image_out, double *weight_out, double *psf_out);

/* Put the light that was seen back into the pixels of a finished stamp that are unusable only for the bits `given_up`
 * of their flag. */
void epoch_restore(const float *image, const float *weight, const int32_t *flag, ptrdiff_t n, int32_t given_up,
                   double *image_out);

/* The noise of a stamp. */
typedef struct {
    double sigma;
    double mapped; /* what the weight map says */
    int32_t measured; /* 1 if sigma comes from the pixels, 0 if from the weight map */
    int32_t agrees; /* 0 if the two differ by more than 20 % */
} epoch_noise;

/* Floats that epoch_noise_level needs for n pixels. */
ptrdiff_t epoch_noise_scratch(ptrdiff_t n);

/* Measure the noise of a stamp; pixels of weight 0 are left out.
 *
 * `model` holds g1, g2, sigma, x, y, flux of the object's adaptive moments in pixels, NaN if there are none. */
void epoch_noise_level(const double *image, const double *weight, ptrdiff_t ny, ptrdiff_t nx, const double model[6],
                       float *scratch, epoch_noise *noise);

/* The random fields of an epoch. */
enum { EPOCH_FILL = 0, EPOCH_NOISE = 1 };

/* Fill the holes of a stamp in place: the elliptical Gaussian of the model plus the mean and the quadrupole of what it
 * leaves in the usable pixels at the same elliptical radius; 0 without a model.  `doubles` has 4 n places. */
void epoch_fill(double *image, const double *weight, ptrdiff_t ny, ptrdiff_t nx, const double model[6],
                double *doubles);

/* Make image and weight of `epoch_take` ready in place, and the noise that metacalibration adds.
 *
 * Holes get noise on top of what fills them.  The variance is the measured one in all pixels, or that of the weight
 * map (by_map), whose median it is in the holes.  `floats` has epoch_noise_scratch(n) places, `doubles` n. */
void epoch_finish(double *image, double *weight, ptrdiff_t ny, ptrdiff_t nx, const double model[6],
                  const uint64_t key[4], uint64_t place, uint32_t exposure, uint32_t ccd, int by_map, float *floats,
                  double *doubles, double *noise, epoch_noise *level, double *total_weight);

#endif
