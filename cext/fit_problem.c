#include "fit_problem.h"

#include <math.h>
#include <string.h>

enum { N = FIT_PARAMETERS, V = FIT_V, U = FIT_U, G1 = FIT_G1, G2 = FIT_G2, T = FIT_T, FLUX = FIT_FLUX };

/* Smallest moment of a Gaussian [arcsec^2] and largest parameter that can be computed with. */
static const double smallest_moment = 1e-12, largest_parameter = 1e12;

int fit_allowed(const fit_problem *q, const double *p)
{
    const fit_settings *s = q->settings;
    const double gg = p[G1] * p[G1] + p[G2] * p[G2];

    for (int i = 0; i < N; i++)
        if (!(fabs(p[i]) < largest_parameter))
            return 0;
    if (!(gg < 1.0 && p[T] >= s->T_min && p[T] <= s->T_max && p[FLUX] >= s->flux_min && p[FLUX] <= s->flux_max))
        return 0;
    /* The smaller moment of each convolved component: a negative T must not use up the PSF. */
    for (int i = 0; i < s->model.n; i++)
        if (!(0.5 * s->model.size[i] * (p[T] - fabs(p[T]) * 2.0 * sqrt(gg) / (1.0 + gg)) + q->smallest_variance >
              smallest_moment))
            return 0;
    return 1;
}

/* -2 ln p of the priors. */
static double prior_chi2(const fit_settings *s, const double *p)
{
    const double gg = p[G1] * p[G1] + p[G2] * p[G2];
    if (!s->with_prior)
        return 0.0;
    return (p[V] * p[V] + p[U] * p[U]) / (s->centre_sigma * s->centre_sigma) + gg / (s->g_sigma * s->g_sigma) -
           4.0 * log1p(-gg);
}

void fit_evaluate(const fit_problem *q, fit_state *at)
{
    const fit_settings *s = q->settings;
    double flux;

    memset(&at->sums, 0, sizeof at->sums);
    for (ptrdiff_t i = 0; i < q->n_epoch; i++)
        q->code->add(&q->epochs[i], &s->model, at->p, &at->sums);
    for (int i = 0; i < FIT_BASIS; i++)
        for (int j = 0; j < i; j++)
            at->sums.products[j][i] = at->sums.products[i][j];
    flux = at->sums.products[0][0] > 0.0 ? at->sums.data[0] / at->sums.products[0][0] : at->p[FLUX];
    flux = flux < s->flux_min ? s->flux_min : flux;
    flux = flux > s->flux_max ? s->flux_max : flux;
    at->p[FLUX] = flux;
    at->pixel_chi2 = q->square - flux * (2.0 * at->sums.data[0] - flux * at->sums.products[0][0]);
    if (at->pixel_chi2 < fit_rounding * q->square)
        at->pixel_chi2 = fit_rounding * q->square;
    at->chi2 = at->pixel_chi2 + prior_chi2(s, at->p);
}

/* The derivatives of the model are this matrix times the basis. */
static void find_matrix(const double *p, double matrix[N][FIT_BASIS])
{
    const double f = 2.0 / (1.0 + p[G1] * p[G1] + p[G2] * p[G2]), e1 = f * p[G1], e2 = f * p[G2];
    const double quarter = 0.25 * p[FLUX], half = p[T] * quarter;
    const double m[N][FIT_BASIS] = {
        {0.0, p[FLUX]},
        {0.0, 0.0, p[FLUX]},
        {0.0, 0.0, 0.0, half * (f - e1 * e1), -half * e1 * e2},
        {0.0, 0.0, 0.0, -half * e1 * e2, half * (f - e2 * e2)},
        {0.0, 0.0, 0.0, quarter * e1, quarter * e2, quarter},
        {1.0},
    };
    memcpy(matrix, m, sizeof m);
}

void fit_find_normal(const fit_problem *q, const fit_state *at, double normal[N][N])
{
    const fit_settings *s = q->settings;
    const double *p = at->p;
    /* where the matrix is not 0 */
    static const int first[N] = {1, 2, 3, 3, 3, 0}, last[N] = {2, 3, 5, 5, 6, 1};
    double matrix[N][FIT_BASIS];

    find_matrix(p, matrix);
    for (int i = 0; i < N; i++) {
        double row[FIT_BASIS] = {0};
        for (int k = first[i]; k < last[i]; k++)
            for (int l = 0; l < FIT_BASIS; l++)
                row[l] += matrix[i][k] * at->sums.products[k][l];
        for (int j = 0; j <= i; j++) {
            normal[i][j] = 0.0;
            for (int l = first[j]; l < last[j]; l++)
                normal[i][j] += row[l] * matrix[j][l];
        }
    }
    if (s->with_prior) {
        const double gg = p[G1] * p[G1] + p[G2] * p[G2], g = 1.0 / (s->g_sigma * s->g_sigma);
        const double centre = 1.0 / (s->centre_sigma * s->centre_sigma), slope = 4.0 / (1.0 - gg) + g;
        const double residual2 = gg * g - 4.0 * log1p(-gg), product = residual2 > 0.0 ? slope * slope / residual2 : 0.0;
        normal[V][V] += centre;
        normal[U][U] += centre;
        normal[G1][G1] += product * p[G1] * p[G1];
        normal[G2][G1] += product * p[G1] * p[G2];
        normal[G2][G2] += product * p[G2] * p[G2];
    }
}

void fit_differentiate(const fit_problem *q, const fit_state *at, int exact, double normal[N][N], double gradient[N])
{
    const fit_settings *s = q->settings;
    const double *p = at->p;
    const double gg = p[G1] * p[G1] + p[G2] * p[G2], f = 2.0 / (1.0 + gg);
    double matrix[N][FIT_BASIS], residual[FIT_BASIS];

    fit_find_normal(q, at, normal);
    find_matrix(p, matrix);
    for (int k = 0; k < FIT_BASIS; k++) /* sum of w (model - data) b_k */
        residual[k] = p[FLUX] * at->sums.products[k][0] - at->sums.data[k];
    for (int i = 0; i < N; i++) {
        gradient[i] = 0.0;
        for (int k = 0; k < FIT_BASIS; k++)
            gradient[i] += matrix[i][k] * residual[k];
    }
    if (exact) {
        double r[FIT_CURVATURE], x[3][3], e[2][2], dx[3][3];
        for (int k = 0; k < FIT_CURVATURE; k++)
            r[k] = p[FLUX] * (p[FLUX] * at->sums.model_curvature[k] - at->sums.data_curvature[k]);
        /* T e1, T e2, T, whose derivatives are a quarter of D_uu - D_vv, 2 D_uv, D_uu + D_vv, by v, u and each
         * other */
        const double along_v[3] = {0.25 * (r[5] - r[3]), 0.5 * r[4], 0.25 * (r[5] + r[3])};
        const double along_u[3] = {0.25 * (r[6] - r[4]), 0.5 * r[5], 0.25 * (r[6] + r[4])};
        x[0][0] = (r[11] - 2.0 * r[9] + r[7]) / 16.0;
        x[1][0] = x[0][1] = (r[10] - r[8]) / 8.0;
        x[1][1] = r[9] / 4.0;
        x[2][0] = x[0][2] = (r[11] - r[7]) / 16.0;
        x[2][1] = x[1][2] = (r[10] + r[8]) / 8.0;
        x[2][2] = (r[11] + 2.0 * r[9] + r[7]) / 16.0;
        for (int i = 0; i < 2; i++)
            for (int j = 0; j < 2; j++)
                e[i][j] = (i == j ? f : 0.0) - f * f * p[G1 + i] * p[G1 + j];
        /* dx[k][j]: derivative of (T e1, T e2, T)[k] by (g1, g2, T)[j] */
        for (int i = 0; i < 2; i++) {
            dx[i][0] = p[T] * e[i][0];
            dx[i][1] = p[T] * e[i][1];
            dx[i][2] = f * p[G1 + i];
        }
        dx[2][0] = dx[2][1] = 0.0;
        dx[2][2] = 1.0;
        normal[V][V] += r[0];
        normal[U][V] += r[1];
        normal[U][U] += r[2];
        for (int i = 0; i < 3; i++) {
            for (int k = 0; k < 3; k++) {
                normal[G1 + i][V] += along_v[k] * dx[k][i];
                normal[G1 + i][U] += along_u[k] * dx[k][i];
            }
            for (int j = 0; j <= i; j++)
                for (int k = 0; k < 3; k++)
                    for (int l = 0; l < 3; l++)
                        normal[G1 + i][G1 + j] += x[k][l] * dx[k][i] * dx[l][j];
        }
        /* the second derivatives of T e1 and T e2 themselves */
        for (int k = 0; k < 2; k++) {
            const double by_x = 0.25 * p[FLUX] * residual[3 + k];
            for (int i = 0; i < 2; i++) {
                for (int j = 0; j <= i; j++) {
                    const double gi = p[G1 + i], gj = p[G1 + j], gk = p[G1 + k];
                    normal[G1 + i][G1 + j] += by_x * p[T] * f * f *
                                              (2.0 * f * gi * gj * gk - (i == k ? gj : 0.0) - (j == k ? gi : 0.0) -
                                               (i == j ? gk : 0.0));
                }
                normal[T][G1 + i] += by_x * e[k][i];
            }
        }
        for (int i = 0; i < FLUX; i++)
            normal[FLUX][i] += gradient[i] / p[FLUX];
    }
    if (s->with_prior) {
        const double g = 1.0 / (s->g_sigma * s->g_sigma), slope = 4.0 / (1.0 - gg) + g;
        const double residual2 = gg * g - 4.0 * log1p(-gg);
        const double product = 8.0 / ((1.0 - gg) * (1.0 - gg)) - (residual2 > 0.0 ? slope * slope / residual2 : 0.0);
        for (int i = 0; i < 2; i++) {
            gradient[i] += p[i] / (s->centre_sigma * s->centre_sigma);
            gradient[G1 + i] += slope * p[G1 + i];
            normal[G1 + i][G1 + i] += slope;
            for (int j = 0; j <= i; j++)
                normal[G1 + i][G1 + j] += product * p[G1 + i] * p[G1 + j];
        }
    }
}
