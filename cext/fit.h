/* Joint fit of a galaxy model to all epochs of an object by Levenberg-Marquardt. */
#ifndef SHAPEMPI_FIT_H
#define SHAPEMPI_FIT_H

#include "fit_sums.h"

enum { FIT_PARAMETERS = 6 }; /* v, u, g1, g2, T, flux */

/* Bits of the flags, and their meaning, are those of measure/fit.py. */
enum {
    FIT_MAX_EVALUATIONS = 1,
    FIT_TOLERANCE = 2,
    FIT_RANGE = 128,
    FIT_SINGULAR = 512,
    FIT_NOT_FINITE = 4096,
    FIT_NO_PIXELS = 32768
};

typedef struct {
    fit_model model;
    double centre_sigma, g_sigma;                /* of the priors; not used without */
    double T_min, T_max, flux_min, flux_max;
    double tolerance;                            /* of chi^2, see measure/fit.py */
    int with_prior, max_evaluations, n_try, isa; /* isa: of isa_find */
} fit_settings;

/* The epochs of one object: arrays [epoch, ...] as the binding documents them. */
typedef struct {
    ptrdiff_t n_epoch, n_type, ny, nx;
    const double *image, *weight, *jacobian, *origin, *sigma;
    const double *start;
} fit_object;

/* Arrays [type, ...]; NaN where flags are set. */
typedef struct {
    double *parameters, *errors, *covariance, *s2n;
    int32_t *flags, *n_evaluation;
} fit_result;

/* Numbers of scratch memory for an object of so many epochs. */
ptrdiff_t fit_scratch_size(ptrdiff_t n_epoch, ptrdiff_t ny, ptrdiff_t nx);

void fit_run(const fit_object *object, const fit_settings *settings, double *scratch, const fit_result *result);

#endif
