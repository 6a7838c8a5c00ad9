/* Moments of stamps under Gaussian weights: adaptive (the elliptical Gaussian that matches the object) and fixed. */
#ifndef SHAPEMPI_MOMENTS_H
#define SHAPEMPI_MOMENTS_H

#include <stddef.h>
#include <stdint.h>

#include "isa.h"

/* Why a measurement failed or lacks something, as in shapempi.measure.moments.MomentsFlag. */
enum {
    MOMENTS_NO_PIXEL = 1,
    MOMENTS_RUNAWAY = 2,
    MOMENTS_NO_FLUX = 4,
    MOMENTS_NO_SIZE = 8,
    MOMENTS_SINGULAR = 16,
    MOMENTS_NOT_CONVERGED = 32,
    MOMENTS_NO_VARIANCE = 64,
    MOMENTS_NOT_FINITE = 128,
};

/* What pixels are stored as. */
enum { MOMENTS_NONE, MOMENTS_FLOAT64, MOMENTS_FLOAT32, MOMENTS_BOOL };

/* Numbers of a result: g1, g2, sigma, x, y, flux. */
#define MOMENTS_N_ADAPTIVE 6
/* Sums of a fixed weight: v, u, u^2 - v^2, 2uv, u^2 + v^2, 1. */
#define MOMENTS_N_FIXED 6

/* Doubles of scratch for a stamp, for either kind of moments: two planes of whole vectors and their alignment. */
static inline ptrdiff_t moments_scratch_size(ptrdiff_t ny, ptrdiff_t nx)
{
    return 2 * ny * ((nx + 7) / 8 * 8) + 8;
}

/* Measure one stamp [ny, nx]; pixels are usable where the weight is positive and finite (NONE: all).
 * Returns flag bits; result is complete if there are none, and not written otherwise. */
typedef int32_t moments_adaptive_function(const void *stamp, int stamp_type, const void *weight, int weight_type,
                                          ptrdiff_t ny, ptrdiff_t nx, double guess_sigma, double *scratch,
                                          double *result, int32_t *n_iteration);

/* Sums of one stamp under the weight exp(-(u^2 + v^2) / (2 sigma^2)), u, v from (dx, dy) off the stamp's centre,
 * and their covariance [6, 6].  Returns flag bits; sums and covariance are zero if there are any. */
typedef int32_t moments_fixed_function(const void *stamp, int stamp_type, const void *weight, int weight_type,
                                       ptrdiff_t ny, ptrdiff_t nx, const double *jacobian, double dx, double dy,
                                       double sigma, double *scratch, double *sums, double *covariance);

moments_adaptive_function moments_adaptive_portable, moments_adaptive_avx2, moments_adaptive_avx512;
moments_fixed_function moments_fixed_portable, moments_fixed_avx2, moments_fixed_avx512;

/* The versions for the instruction set of a number, see isa.h. */
static inline moments_adaptive_function *moments_adaptive_for(int isa)
{
    static moments_adaptive_function *const version[ISA_COUNT] = ISA_TABLE(moments_adaptive);
    return version[isa];
}

static inline moments_fixed_function *moments_fixed_for(int isa)
{
    static moments_fixed_function *const version[ISA_COUNT] = ISA_TABLE(moments_fixed);
    return version[isa];
}

#endif
