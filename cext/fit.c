#include "fit.h"

#include <math.h>
#include <string.h>

#include "fit_problem.h"
#include "isa.h"

enum { N = FIT_PARAMETERS, T = FIT_T, FLUX = FIT_FLUX };

/* Smallest pivot of the normal matrix, scaled to a diagonal of 1, of parameters that are not degenerate. */
static const double smallest_pivot = 1e-13;

/* Damping of degenerate parameters, and the one beyond which no step helps. */
static const double singular_damping = 1e-3, largest_damping = 1e10;

/* The decrease of chi^2 left, in variances of the residuals, below which the second derivatives are used. */
static const double close_to_end = 3.0;

/* What chi^2 may gain in an accepted step beside roundings, relative to sqrt(sum of w m^2): pixels come into the sums
 * and leave them where the model is 1.5e-8 of its peak. */
static const double border = 1e-7;

/* Starting sizes of all tries, in units of the first. */
static const double try_size[] = {1.0, 0.3, 3.0, 0.1, 10.0};

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

/* The smallest pivot: a damping of this size halves a step along the worst determined direction. */
static double weakest_pivot(double factor[N][N])
{
    double weakest = INFINITY;
    for (int i = 0; i < N; i++)
        weakest = fmin(weakest, 1.0 / (factor[i][i] * factor[i][i]));
    return weakest;
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
static void shorten(const fit_problem *q, const double *p, double step[N])
{
    const double longest = 0.7 * (fabs(p[T]) + 0.2 * q->smallest_variance);
    if (step[T] < -longest) {
        const double factor = -longest / step[T];
        for (int i = 0; i < N; i++)
            step[i] *= factor;
    }
}

/* The variance of the residuals in units of 1/weight. */
static double residual_variance(const fit_problem *q, const fit_state *at)
{
    return at->pixel_chi2 / (q->n_pixel - N);
}

/* Covariance scaled by the variance of the residuals; 0 if parameters are degenerate. */
static int find_covariance(const fit_problem *q, const fit_state *at, double covariance[N][N])
{
    double normal[N][N], factor[N][N], scale[N];
    const double variance = residual_variance(q, at);

    fit_find_normal(q, at, normal);
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

/* Gradient, matrix of second derivatives and its factor at a place; 0 if parameters are degenerate there. */
static int expand(const fit_problem *q, const fit_state *at, double normal[N][N], double gradient[N],
                  double factor[N][N], double scale[N])
{
    double step[N];

    /* Far away the second derivatives of the model mislead; close, they make the convergence quadratic. */
    fit_differentiate(q, at, 0, normal, gradient);
    if (!factorise(normal, 0.0, factor, scale))
        return 0;
    if (solve(factor, scale, gradient, step) > close_to_end * residual_variance(q, at))
        return 1;
    fit_differentiate(q, at, 1, normal, gradient);
    if (factorise(normal, 0.0, factor, scale))
        return 1;
    fit_differentiate(q, at, 0, normal, gradient);
    return factorise(normal, 0.0, factor, scale);
}

static void add_step(const double p[N], const double step[N], double sum[N])
{
    for (int i = 0; i < N; i++)
        sum[i] = p[i] + step[i];
}

/* Fit from `at`, which becomes the solution; returns flags. */
static int iterate(const fit_problem *q, fit_state *at, int32_t *n_evaluation)
{
    const int limit = *n_evaluation + q->settings->max_evaluations;
    double damping = 0.0;
    fit_state trial;

    if (!fit_allowed(q, at->p))
        return FIT_RANGE;
    fit_evaluate(q, at);
    ++*n_evaluation;
    for (;;) {
        double normal[N][N], gradient[N], factor[N][N], scale[N], step[N], weakest = singular_damping;
        const double variance = residual_variance(q, at);
        const double model = fabs(at->p[FLUX]) * sqrt(at->sums.products[0][0]);
        const double slack = fit_rounding * q->square + border * model * sqrt(variance);

        if (!isfinite(at->chi2))
            return FIT_NOT_FINITE;
        if (expand(q, at, normal, gradient, factor, scale)) {
            if (solve(factor, scale, gradient, step) <= q->settings->tolerance * variance) {
                /* The sums, and so the errors, are known well enough without an evaluation at the end of it. */
                add_step(at->p, step, trial.p);
                if (fit_allowed(q, trial.p))
                    memcpy(at->p, trial.p, sizeof at->p);
                return 0;
            }
            weakest = weakest_pivot(factor);
            if (damping < 0.1 * weakest)
                damping = 0.0;
        } else {
            damping = fmax(damping, weakest);
        }
        for (;;) {
            if (damping > 0.0) {
                if (!factorise(normal, damping, factor, scale))
                    return FIT_SINGULAR;
                solve(factor, scale, gradient, step);
            }
            shorten(q, at->p, step);
            add_step(at->p, step, trial.p);
            if (fit_allowed(q, trial.p)) {
                if (*n_evaluation >= limit)
                    return FIT_MAX_EVALUATIONS;
                fit_evaluate(q, &trial);
                ++*n_evaluation;
                if (trial.chi2 <= at->chi2 + slack)
                    break;
            }
            damping = damping > 0.0 ? 10.0 * damping : weakest;
            if (damping > largest_damping)
                return FIT_TOLERANCE;
        }
        *at = trial;
        damping *= 0.1;
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
static int fit_type(const fit_problem *q, const double *start, const fit_result *result, ptrdiff_t type)
{
    const fit_settings *s = q->settings;
    double covariance[N][N];
    int32_t n_evaluation = 0;
    int flags = 0;
    fit_state at;

    for (int i = 0; i < s->n_try; i++) {
        memcpy(at.p, start, sizeof at.p);
        if (i > 0)
            at.p[T] = try_size[i] * fabs(at.p[T]);
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
    fit_problem q = {settings, code, epochs, object->n_epoch, 0.0, 0.0, INFINITY};
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
