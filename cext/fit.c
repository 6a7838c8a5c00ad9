#include "fit.h"

#include <math.h>
#include <string.h>

#include "isa.h"

enum { N = FIT_PARAMETERS, V = 0, U, G1, G2, T, FLUX };

/* Smallest moment of a Gaussian [arcsec^2] and largest parameter that can be computed with. */
static const double smallest_moment = 1e-12, largest_parameter = 1e12;

/* Smallest pivot of the normal matrix, scaled to a diagonal of 1, of parameters that are not degenerate. */
static const double smallest_pivot = 1e-13;

/* First damping after a step that failed, and the one beyond which no step helps. */
static const double first_damping = 1e-3, largest_damping = 1e10;

/* The decrease of chi^2 left, in variances of the residuals, below which the second derivatives are used. */
static const double close_to_end = 3.0;

/* What chi^2 may gain in an accepted step, because it is known no better: roundings, relative to the sum of w d^2,
 * and pixels that come into the sums or leave them, relative to sqrt(sum of w m^2) (the model at the border is
 * 1.5e-8 of its peak). */
static const double rounding = 1e-13, border = 1e-7;

/* Starting sizes of further tries. */
static const double try_size[] = {1.0, 0.3, 3.0, 0.1, 10.0};

/* The data of one type of image, and the settings. */
typedef struct {
    const fit_settings *settings;
    const fit_code *code;
    fit_epoch *epochs;
    ptrdiff_t n_epoch;
    double n_pixel, square; /* pixels used, sum of w d^2 */
    double smallest_variance;
} problem;

/* A place in parameter space, its flux the best one. */
typedef struct {
    double p[N];
    double chi2, pixel_chi2; /* with and without the priors */
    fit_sums sums;
} state;

static int allowed(const problem *q, const double *p)
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

/* Sums and chi^2 at at->p, whose flux becomes the one that fits best. */
static void evaluate(const problem *q, state *at)
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
    /* Known to the roundings of the sums only. */
    at->pixel_chi2 = fmax(at->pixel_chi2, rounding * q->square);
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

/* The products of the derivatives of all residuals (lower half), a prior's residual being sqrt(-2 ln p). */
static void find_normal(const problem *q, const state *at, double normal[N][N])
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

/* Half the gradient and half the matrix of second derivatives of chi^2 (lower half).  Without `exact` the second
 * derivatives of the model are left out, which leaves a matrix that is never negative (Gauss and Newton's). */
static void differentiate(const problem *q, const state *at, int exact, double normal[N][N], double gradient[N])
{
    const fit_settings *s = q->settings;
    const double *p = at->p;
    const double gg = p[G1] * p[G1] + p[G2] * p[G2], f = 2.0 / (1.0 + gg);
    double matrix[N][FIT_BASIS], residual[FIT_BASIS];

    find_normal(q, at, normal);
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

/* Cholesky factor L of the normal matrix scaled to a diagonal of 1 + damping; scale[i] is 1/sqrt of the diagonal and
 * factor[i][i] is 1/L_ii.  0 if the parameters are degenerate. */
static int factorise(double normal[N][N], double damping, double factor[N][N], double scale[N])
{
    for (int i = 0; i < N; i++) {
        if (!(normal[i][i] > 0.0 && isfinite(normal[i][i])))
            return 0;
        scale[i] = 1.0 / sqrt(normal[i][i]);
    }
    for (int i = 0; i < N; i++)
        for (int j = 0; j <= i; j++) {
            double sum = i == j ? 1.0 + damping : normal[i][j] * scale[i] * scale[j];
            for (int k = 0; k < j; k++)
                sum -= factor[i][k] * factor[j][k];
            if (i > j)
                factor[i][j] = sum * factor[j][j];
            else if (sum > smallest_pivot)
                factor[i][i] = 1.0 / sqrt(sum);
            else
                return 0;
        }
    return 1;
}

/* The step that lowers the damped quadratic form most; returns by how much. */
static double solve(double factor[N][N], const double scale[N], const double gradient[N], double step[N])
{
    double decrease = 0.0;
    for (int i = 0; i < N; i++) {
        step[i] = -gradient[i] * scale[i];
        for (int k = 0; k < i; k++)
            step[i] -= factor[i][k] * step[k];
        step[i] *= factor[i][i];
        decrease += step[i] * step[i];
    }
    for (int i = N - 1; i >= 0; i--) {
        for (int k = i + 1; k < N; k++)
            step[i] -= factor[k][i] * step[k];
        step[i] *= factor[i][i];
    }
    for (int i = 0; i < N; i++)
        step[i] *= scale[i];
    return decrease;
}

/* Shorten a step in which the size falls much: near zero the shape would be undetermined. */
static void shorten(const problem *q, const double *p, double step[N])
{
    const double longest = 0.7 * (fabs(p[T]) + 0.2 * q->smallest_variance);
    if (step[T] < -longest) {
        const double factor = -longest / step[T];
        for (int i = 0; i < N; i++)
            step[i] *= factor;
    }
}

/* The variance of the residuals in units of 1/weight. */
static double residual_variance(const problem *q, const state *at)
{
    return at->pixel_chi2 / (q->n_pixel - N);
}

/* Covariance scaled by the variance of the residuals; 0 if parameters are degenerate. */
static int find_covariance(const problem *q, const state *at, double covariance[N][N])
{
    double normal[N][N], factor[N][N], scale[N];
    const double variance = residual_variance(q, at);

    find_normal(q, at, normal);
    if (!factorise(normal, 0.0, factor, scale))
        return 0;
    for (int i = 0; i < N; i++) {
        double unit[N] = {0}, column[N];
        unit[i] = -1.0;
        solve(factor, scale, unit, column);
        for (int j = 0; j < N; j++)
            covariance[j][i] = variance * column[j];
    }
    return 1;
}

/* Fit from `at`, which becomes the solution; returns flags. */
static int iterate(const problem *q, state *at, int32_t *n_evaluation)
{
    const int limit = *n_evaluation + q->settings->max_evaluations;
    double damping = 0.0;
    state trial;

    if (!allowed(q, at->p))
        return FIT_RANGE;
    evaluate(q, at);
    ++*n_evaluation;
    for (;;) {
        double normal[N][N], gradient[N], factor[N][N], scale[N], step[N];
        const double variance = residual_variance(q, at);
        const double gain = rounding * q->square + border * at->p[FLUX] * sqrt(at->sums.products[0][0] * variance);
        int regular;

        if (!isfinite(at->chi2))
            return FIT_NOT_FINITE;
        /* Far away the second derivatives of the model mislead; close, they make the convergence quadratic. */
        differentiate(q, at, 0, normal, gradient);
        regular = factorise(normal, 0.0, factor, scale);
        if (regular && solve(factor, scale, gradient, step) < close_to_end * variance) {
            differentiate(q, at, 1, normal, gradient);
            regular = factorise(normal, 0.0, factor, scale);
            if (!regular) {
                differentiate(q, at, 0, normal, gradient);
                regular = factorise(normal, 0.0, factor, scale);
            }
        }
        if (regular && solve(factor, scale, gradient, step) <= q->settings->tolerance * variance) {
            /* Sums, and so errors, are known well enough without an evaluation at the end of this step. */
            for (int i = 0; i < N; i++)
                trial.p[i] = at->p[i] + step[i];
            if (allowed(q, trial.p))
                memcpy(at->p, trial.p, sizeof at->p);
            return 0;
        }
        for (;;) {
            if (damping > 0.0 || !regular) {
                damping = damping > 0.0 ? damping : first_damping;
                if (!factorise(normal, damping, factor, scale))
                    return FIT_SINGULAR;
                solve(factor, scale, gradient, step);
            }
            shorten(q, at->p, step);
            for (int i = 0; i < N; i++)
                trial.p[i] = at->p[i] + step[i];
            if (allowed(q, trial.p)) {
                if (*n_evaluation >= limit)
                    return FIT_MAX_EVALUATIONS;
                evaluate(q, &trial);
                ++*n_evaluation;
                if (trial.chi2 <= at->chi2 + fabs(gain))
                    break;
            }
            damping = damping > 0.0 ? 10.0 * damping : first_damping;
            if (damping > largest_damping)
                return FIT_TOLERANCE;
        }
        *at = trial;
        damping = damping > first_damping ? 0.1 * damping : 0.0;
    }
}

static void write_nothing(const fit_result *result, ptrdiff_t type, int flags, int32_t n_evaluation)
{
    for (int i = 0; i < N; i++)
        result->parameters[N * type + i] = result->errors[N * type + i] = NAN;
    for (int i = 0; i < N * N; i++)
        result->covariance[N * N * type + i] = NAN;
    result->s2n[type] = NAN;
    result->flags[type] = flags;
    result->n_evaluation[type] = n_evaluation;
}

/* Fit one type and write its result; returns flags. */
static int fit_type(const problem *q, const double *start, const fit_result *result, ptrdiff_t type)
{
    const fit_settings *s = q->settings;
    double covariance[N][N];
    int32_t n_evaluation = 0;
    int flags = 0;
    state at;

    for (int i = 0; i < s->n_try; i++) {
        memcpy(at.p, start, sizeof at.p);
        at.p[T] *= try_size[i];
        /* Without a flux, any: the first evaluation finds it. */
        if (isnan(at.p[FLUX]) || i > 0)
            at.p[FLUX] = fmax(s->flux_min, fmin(s->flux_max, 0.0));
        flags = iterate(q, &at, &n_evaluation);
        if (flags == 0 && !find_covariance(q, &at, covariance))
            flags = FIT_SINGULAR;
        if (flags == 0 || flags == FIT_NOT_FINITE)
            break;
    }
    if (flags != 0) {
        write_nothing(result, type, flags, n_evaluation);
        return flags;
    }
    memcpy(result->parameters + N * type, at.p, sizeof at.p);
    memcpy(result->covariance + N * N * type, covariance, sizeof covariance);
    for (int i = 0; i < N; i++)
        result->errors[N * type + i] = sqrt(covariance[i][i]);
    result->s2n[type] = copysign(1.0, at.p[FLUX]) * at.sums.data[0] / sqrt(at.sums.products[0][0]);
    result->flags[type] = 0;
    result->n_evaluation[type] = n_evaluation;
    return 0;
}

static const fit_code *find_code(int isa)
{
    static const fit_code *const code[ISA_COUNT] = ISA_TABLE(&fit_code);
    return code[isa];
}

static ptrdiff_t epochs_size(ptrdiff_t n_epoch)
{
    return (ptrdiff_t)((size_t)n_epoch * sizeof(fit_epoch) / sizeof(double)) + 1;
}

ptrdiff_t fit_scratch_size(ptrdiff_t n_epoch, ptrdiff_t ny, ptrdiff_t nx)
{
    return epochs_size(n_epoch) + fit_powers_size(ny) + 2 * n_epoch * fit_packed_size(ny, nx) + FIT_COLUMNS;
}

void fit_run(const fit_object *object, const fit_settings *settings, double *scratch, const fit_result *result)
{
    const ptrdiff_t n_pixel = object->ny * object->nx, n_packed = fit_packed_size(object->ny, object->nx);
    fit_epoch *epochs = (fit_epoch *)scratch;
    const fit_code *code = find_code(settings->isa);
    problem q = {settings, code, epochs, object->n_epoch, 0.0, 0.0, INFINITY};
    double start[N], *powers = scratch + epochs_size(object->n_epoch), finite = 0.0;
    double *packed = powers + fit_powers_size(object->ny);

    /* Blocks of columns lie in cache lines. */
    packed += (FIT_COLUMNS - ((uintptr_t)packed / sizeof(double)) % FIT_COLUMNS) % FIT_COLUMNS;
    for (ptrdiff_t i = 0; i < object->n_epoch; i++) {
        const double *j = object->jacobian + 4 * i;
        const double variance = object->sigma[i] * object->sigma[i];
        double *weight = packed + 2 * i * n_packed;
        epochs[i] = (fit_epoch){object->ny, object->nx, j[0], j[1], j[2], j[3], 0.0, 0.0, variance,
                                weight, weight + n_packed, powers};
        q.n_pixel += (double)code->pack_weight(object->weight + i * n_pixel, object->ny, object->nx, weight);
        q.smallest_variance = fmin(q.smallest_variance, variance);
        finite += 0.0 * (variance + j[0] + j[1] + j[2] + j[3]);
    }
    memcpy(start, object->start, sizeof start);
    for (ptrdiff_t type = 0; type < object->n_type; type++) {
        double good = finite;
        int flags;

        if (q.n_pixel <= N) {
            write_nothing(result, type, FIT_NO_PIXELS, 0);
            continue;
        }
        q.square = 0.0;
        for (ptrdiff_t i = 0; i < object->n_epoch; i++) {
            const ptrdiff_t k = i * object->n_type + type;
            epochs[i].u = object->origin[2 * k];
            epochs[i].v = object->origin[2 * k + 1];
            good += 0.0 * (epochs[i].u + epochs[i].v);
            q.square += code->pack_signal(epochs[i].weight, object->image + k * n_pixel, object->ny, object->nx,
                                          packed + (2 * i + 1) * n_packed);
        }
        if (good != 0.0 || !isfinite(q.square)) {
            write_nothing(result, type, FIT_NOT_FINITE, 0);
            continue;
        }
        flags = fit_type(&q, start, result, type);
        if (type == 0 && flags == 0)
            memcpy(start, result->parameters, sizeof start);
    }
}
