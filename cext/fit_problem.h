/* What a fit minimises: chi^2 of all pixels and priors, and its derivatives. */
#ifndef SHAPEMPI_FIT_PROBLEM_H
#define SHAPEMPI_FIT_PROBLEM_H

#include "fit.h"

enum { FIT_V = 0, FIT_U, FIT_G1, FIT_G2, FIT_T, FIT_FLUX };

/* The data of one type of image, and the settings. */
typedef struct {
    const fit_settings *settings;
    const fit_code *code;
    fit_epoch *epochs;
    ptrdiff_t n_epoch;
    double n_pixel, square; /* pixels used, sum of w d^2 */
    double smallest_variance;
} fit_problem;

/* A place in parameter space, its flux the best one. */
typedef struct {
    double p[FIT_PARAMETERS];
    double chi2, pixel_chi2; /* with and without the priors */
    fit_sums sums;
} fit_state;

/* chi^2 is known to this fraction of the sum of w d^2 only: roundings of the sums. */
static const double fit_rounding = 1e-13;

/* Whether parameters are inside the ranges and make Gaussians in every epoch. */
int fit_allowed(const fit_problem *q, const double *p);

/* Sums and chi^2 at at->p, whose flux becomes the one that fits best. */
void fit_evaluate(const fit_problem *q, fit_state *at);

/* The products of the derivatives of all residuals (lower half), a prior's residual being sqrt(-2 ln p). */
void fit_find_normal(const fit_problem *q, const fit_state *at, double normal[FIT_PARAMETERS][FIT_PARAMETERS]);

/* Half the gradient and half the matrix of second derivatives of chi^2 (lower half).  Without `exact` the second
 * derivatives of the model are left out, which leaves a matrix that is never negative (Gauss and Newton's). */
void fit_differentiate(const fit_problem *q, const fit_state *at, int exact,
                       double normal[FIT_PARAMETERS][FIT_PARAMETERS], double gradient[FIT_PARAMETERS]);

#endif
