#include "moments.h"

#include <float.h>
#include <math.h>
#include <stdint.h>

#include "isa.h"
#include "moments_sums.h"

/* Adaptive weights are cut where they fall below a tenth of the convergence threshold, as HSM's are. */
#define THRESHOLD 1e-6
#define LIMIT_ADAPTIVE (0.1 * THRESHOLD)
/* Fixed weights are cut where double precision would not notice. */
#define LIMIT_FIXED 4.2483542552915889e-18 /* e^-40 */

/* HSM's limits: largest change of an iteration in units of the minor axis, largest moment [pixel^2], smallest
 * moment and determinant, largest shift [pixel], iterations. */
#define MAX_CHANGE 0.25
#define MAX_MOMENT 8000.0
#define MIN_MOMENT 1e-8
#define MAX_SHIFT 15.0
#define MAX_ITERATION 400

/* From this iteration on plain steps are halved: what swings about the fixed point comes to rest.  HSM lets it swing,
 * and whether it then ends is left to rounding. */
#define DAMPED_FROM 40

/* Newton's step is taken where the change is below the first number.  It is the last one if the change that it
 * leaves, foreseen from the last two as each step squares the error, is below the second. */
#define NEWTON_BELOW 0.1
#define NEWTON_ENDS 1e-8

/* Solve a x = b for five unknowns by elimination with pivots; b becomes x.  Returns 0 if a is singular. */
static int solve(double a[5][5], double b[5])
{
    for (int k = 0; k < 5; k++) {
        int pivot = k;
        for (int i = k + 1; i < 5; i++)
            pivot = fabs(a[i][k]) > fabs(a[pivot][k]) ? i : pivot;
        if (!(fabs(a[pivot][k]) > 1e-12))
            return 0;
        if (pivot != k) {
            double swap = b[k];
            b[k] = b[pivot];
            b[pivot] = swap;
            for (int j = k; j < 5; j++) {
                swap = a[k][j];
                a[k][j] = a[pivot][j];
                a[pivot][j] = swap;
            }
        }
        for (int i = k + 1; i < 5; i++) {
            double factor = a[i][k] / a[k][k];
            for (int j = k + 1; j < 5; j++)
                a[i][j] -= factor * a[k][j];
            b[i] -= factor * b[k];
        }
    }
    for (int k = 4; k >= 0; k--) {
        for (int j = k + 1; j < 5; j++)
            b[k] -= a[k][j] * b[j];
        b[k] /= a[k][k];
    }
    return 1;
}

/* Newton's step to the fixed point 2 <z> = 0, 4 <z z> - 2 M = 0 of the adaptive moments, from the sums under the
 * weight of centre r0 and covariance M (z = r - r0, <f> = sum of f w d / sum of w d).
 *
 * In the frame s where M is the unit matrix, M = L L^T, the unknowns are a shift p of r0 to r0 + L p and a change q
 * of M to L (1 + q) L^T.  To first order they change ln w by s p + s q s / 2, so that all derivatives are
 * covariances under the weight of the five functions s1, s2, s1 s1, s1 s2, s2 s2.
 * step: dx, dy, dxx, dxy, dyy; gain: the relative change of the sum of w d.  Returns 0 if there is no sane step. */
static int newton_step(const double *restrict sum, const struct gaussian *g, double *restrict step, double *gain)
{
    static const int degree[5] = {S00, S10, S20, S30, S40};
    static const int one[5] = {1, 2, 3, 4, 5};
    static const int two[5][5] = {{3, 4, 6, 7, 8}, {4, 5, 7, 8, 9}, {6, 7, 10, 11, 12}, {7, 8, 11, 12, 13},
                                  {8, 9, 12, 13, 14}};
    static const double half[5] = {1.0, 1.0, 0.5, 1.0, 0.5};
    const double l11 = sqrt(g->xx), slope = g->xy / g->xx, l21 = g->xy / l11, l22 = sqrt(determinant(g)) / l11;
    double mean[N_SUM], f[5], a[5][5], largest = 0.0, change = 0.0;

    /* the sums of (x / l11)^i ((y - slope x) / l22)^j over that of 1 */
    for (int i = 0; i < N_SUM; i++)
        mean[i] = sum[i] / sum[S00];
    for (int n = 1; n <= 4; n++) {
        double *m = mean + degree[n], scale = 1.0;
        for (int pass = 1; pass <= n; pass++)
            for (int j = n; j >= pass; j--)
                m[j] -= slope * m[j - 1];
        for (int i = 0; i < n; i++)
            scale /= l11;
        for (int j = 0; j <= n; j++, scale *= l11 / l22)
            m[j] *= scale;
    }
    f[0] = 2.0 * mean[S10];
    f[1] = 2.0 * mean[S01];
    f[2] = 4.0 * mean[S20] - 2.0;
    f[3] = 4.0 * mean[S11];
    f[4] = 4.0 * mean[S02] - 2.0;
    for (int i = 0; i < 5; i++)
        for (int k = 0; k < 5; k++)
            a[i][k] = (i == k ? 2.0 : 0.0) -
                      (i < 2 ? 2.0 : 4.0) * half[k] * (mean[two[i][k]] - mean[one[i]] * mean[one[k]]);
    a[2][0] += 8.0 * mean[S10];
    a[3][0] += 4.0 * mean[S01];
    a[3][1] += 4.0 * mean[S10];
    a[4][1] += 8.0 * mean[S01];
    for (int i = 0; i < 5; i++)
        largest = larger(largest, fabs(f[i]));
    if (!solve(a, f))
        return 0;
    *gain = 0.0;
    for (int i = 0; i < 5; i++) {
        change = larger(change, fabs(f[i]));
        *gain += half[i] * mean[one[i]] * f[i];
    }
    if (!(change <= 30.0 * largest && change <= MAX_CHANGE))
        return 0;
    step[0] = l11 * f[0];
    step[1] = l21 * f[0] + l22 * f[1];
    step[2] = l11 * l11 * f[2];
    step[3] = l11 * (l21 * f[2] + l22 * f[3]);
    step[4] = l21 * l21 * f[2] + 2.0 * l21 * l22 * f[3] + l22 * l22 * f[4];
    return 1;
}

static inline struct gaussian moved(const struct gaussian *g, const double *step)
{
    return (struct gaussian){g->x + step[0], g->y + step[1], g->xx + step[2], g->xy + step[3], g->yy + step[4]};
}

/* The plain step of the iteration: to the centre under the weight and to twice the covariance under it, each number
 * within MAX_CHANGE of the minor axis (`minor` is its square).
 * change: the largest number in that unit; clamped: whether one was cut.  Returns flag bits. */
static int32_t plain_step(const double *restrict sum, const struct gaussian *g, double minor, double *restrict step,
                          double *change, int *clamped)
{
    if (sum[S00] == 0.0)
        return MOMENTS_NO_FLUX;
    step[0] = 2.0 * sum[S10] / sum[S00];
    step[1] = 2.0 * sum[S01] / sum[S00];
    step[2] = 4.0 * sum[S20] / sum[S00] - 2.0 * g->xx;
    step[3] = 4.0 * sum[S11] / sum[S00] - 2.0 * g->xy;
    step[4] = 4.0 * sum[S02] / sum[S00] - 2.0 * g->yy;
    *change = 0.0;
    *clamped = 0;
    for (int i = 0; i < 5; i++) {
        const double unit = i < 2 ? sqrt(minor) : minor, bound = MAX_CHANGE * unit;
        if (!(fabs(step[i]) <= DBL_MAX))
            return MOMENTS_NOT_FINITE;
        *clamped |= fabs(step[i]) > bound;
        step[i] = smaller(larger(step[i], -bound), bound);
        *change = larger(*change, fabs(step[i]) / unit);
    }
    return 0;
}

/* Hirata & Seljak (2003), Bernstein & Jarvis (2002): iterate until centre and covariance of the weight are those of
 * the object under the weight, the covariance doubled.  The plain iteration, the weight's cut, limits and the
 * threshold are those of GalSim's hsm; near the fixed point Newton's steps replace the plain ones.
 * Returns flag bits; amplitude is the sum of w d. */
static int32_t find_fixed_point(const struct plane *plane, struct gaussian *g, double *amplitude,
                                int32_t *n_iteration)
{
    const struct gaussian start = *g;
    struct gaussian plain = *g;
    double first_minor = 0.0, below = NEWTON_BELOW, previous = INFINITY;

    for (;;) {
        const double trace = g->xx + g->yy, difference = g->xx - g->yy;
        const double minor = 0.5 * (trace - sqrt(difference * difference + 4.0 * g->xy * g->xy));
        double sum[N_SUM], step[5], newton[5], change, gain;
        int last, clamped;
        int32_t flags;

        if (!(g->xx > 0.0 && g->yy > 0.0 && determinant(g) > 0.0 && determinant(g) <= DBL_MAX && minor > 0.0))
            return MOMENTS_SINGULAR;
        if (*n_iteration == 0)
            first_minor = minor;
        sum_stamp(plane, g, LIMIT_ADAPTIVE, 1, sum);
        *amplitude = sum[S00];
        flags = plain_step(sum, g, minor, step, &change, &clamped);
        if (flags)
            return flags;
        change *= sqrt(larger(first_minor / minor, 1.0));
        last = change <= THRESHOLD;
        /* A step of Newton must do better than halving the change.  If it has not, the plain step is taken from
         * where it began, and the next one is tried when the change is smaller. */
        if (change > 0.5 * previous) {
            below = 0.3 * previous;
            previous = INFINITY;
            *g = plain;
        } else {
            if (*n_iteration >= DAMPED_FROM)
                for (int i = 0; i < 5; i++)
                    step[i] *= 0.5;
            plain = moved(g, step);
            if (!clamped && change < below && newton_step(sum, g, newton, &gain)) {
                last |= change < 1e-3 && previous < INFINITY &&
                        change * change * change <= NEWTON_ENDS * previous * previous;
                previous = change;
                *amplitude *= 1.0 + gain;
                *g = moved(g, newton);
            } else {
                previous = INFINITY;
                *g = plain;
            }
        }
        if (!(fabs(g->xx) <= MAX_MOMENT && fabs(g->xy) <= MAX_MOMENT && fabs(g->yy) <= MAX_MOMENT &&
              fabs(g->x - start.x) <= MAX_SHIFT && fabs(g->y - start.y) <= MAX_SHIFT))
            return MOMENTS_RUNAWAY;
        if (!(fabs(g->xx) >= MIN_MOMENT && fabs(g->yy) >= MIN_MOMENT && determinant(g) >= MIN_MOMENT))
            return MOMENTS_SINGULAR;
        if (++*n_iteration > MAX_ITERATION)
            return MOMENTS_NOT_CONVERGED;
        if (last)
            return 0;
    }
}

int32_t ISA_NAME(moments_adaptive)(const void *stamp, int stamp_type, const void *weight, int weight_type,
                                   ptrdiff_t ny, ptrdiff_t nx, double guess_sigma, double *scratch, double *result,
                                   int32_t *n_iteration)
{
    struct plane image = plane_in(scratch, ny, nx);
    struct gaussian g = {0.5 * (double)(nx - 1), 0.5 * (double)(ny - 1), guess_sigma * guess_sigma, 0.0,
                         guess_sigma * guess_sigma};
    double amplitude, root, scale;
    int32_t flags;

    *n_iteration = 0;
    flags = read_stamp(stamp, stamp_type, weight, weight_type, &image, NULL);
    if (flags)
        return flags;
    flags = find_fixed_point(&image, &g, &amplitude, n_iteration);
    if (flags)
        return flags;
    /* a hole in the sky has moments, too */
    if (!(amplitude > 0.0))
        return MOMENTS_NO_FLUX;
    root = sqrt(determinant(&g));
    scale = 1.0 / (g.xx + g.yy + 2.0 * root);
    result[0] = (g.xx - g.yy) * scale;
    result[1] = 2.0 * g.xy * scale;
    result[2] = sqrt(root);
    result[3] = g.x - 0.5 * (double)(nx - 1);
    result[4] = g.y - 0.5 * (double)(ny - 1);
    result[5] = 2.0 * amplitude;
    for (int i = 0; i < MOMENTS_N_ADAPTIVE; i++)
        if (!(fabs(result[i]) <= DBL_MAX))
            return MOMENTS_NOT_FINITE;
    return 0;
}

/* The six functions of the fixed moments as polynomials: rows v, u, u^2 - v^2, 2uv, u^2 + v^2, 1; columns x, y, xx,
 * xy, yy of the pixels; the last has 1 alone. */
static void sky_functions(const double *jacobian, double out[5][5])
{
    const double ux = jacobian[0], uy = jacobian[1], vx = jacobian[2], vy = jacobian[3];
    const double uu[3] = {ux * ux, 2.0 * ux * uy, uy * uy}, vv[3] = {vx * vx, 2.0 * vx * vy, vy * vy};
    const double uv[3] = {ux * vx, ux * vy + uy * vx, uy * vy};

    memset(out, 0, 25 * sizeof(double));
    out[0][0] = vx;
    out[0][1] = vy;
    out[1][0] = ux;
    out[1][1] = uy;
    for (int i = 0; i < 3; i++) {
        out[2][2 + i] = uu[i] - vv[i];
        out[3][2 + i] = 2.0 * uv[i];
        out[4][2 + i] = uu[i] + vv[i];
    }
}

int32_t ISA_NAME(moments_fixed)(const void *stamp, int stamp_type, const void *weight, int weight_type, ptrdiff_t ny,
                                ptrdiff_t nx, const double *jacobian, double dx, double dy, double sigma,
                                double *scratch, double *sums, double *covariance)
{
    /* where the sum of the product of two of x, y, xx, xy, yy is */
    static const int product[5][5] = {{S20, S11, S30, S21, S12}, {S11, S02, S21, S12, S03}, {S30, S21, S40, S31, S22},
                                      {S21, S12, S31, S22, S13}, {S12, S03, S22, S13, S04}};
    const double ux = jacobian[0], uy = jacobian[1], vx = jacobian[2], vy = jacobian[3];
    const double det = ux * vy - uy * vx, area2 = sigma * sigma / (det * det);
    struct plane image = plane_in(scratch, ny, nx), variance = image;
    struct gaussian g = {0.5 * (double)(nx - 1) + dx, 0.5 * (double)(ny - 1) + dy, area2 * (uy * uy + vy * vy),
                         -area2 * (ux * uy + vx * vy), area2 * (ux * ux + vx * vx)};
    double sum[N_SUM], function[5][5], value[MOMENTS_N_FIXED], total = 0.0;
    int32_t flags;

    memset(sums, 0, MOMENTS_N_FIXED * sizeof(double));
    memset(covariance, 0, MOMENTS_N_FIXED * MOMENTS_N_FIXED * sizeof(double));
    /* a weight so narrow or so wide that its numbers overflow is as bad as a singular Jacobian */
    if (!(g.xx > MIN_MOMENT && g.yy > MIN_MOMENT && determinant(&g) > MIN_MOMENT * MIN_MOMENT && g.xx < 1e100 &&
          g.yy < 1e100 && fabs(g.x) < 1e100 && fabs(g.y) < 1e100))
        return MOMENTS_SINGULAR;
    variance.pixel += ny * image.stride;
    flags = read_stamp(stamp, stamp_type, weight, weight_type, &image, variance.pixel);
    if (flags)
        return flags;
    sky_functions(jacobian, function);

    sum_stamp(&image, &g, LIMIT_FIXED, 0, sum);
    for (int i = 0; i < 5; i++) {
        value[i] = 0.0;
        for (int k = 0; k < 5; k++)
            value[i] += function[i][k] * sum[S10 + k];
    }
    value[5] = sum[S00];
    /* the square of the weight is a Gaussian of half its covariance */
    g.xx *= 0.5;
    g.xy *= 0.5;
    g.yy *= 0.5;
    sum_stamp(&variance, &g, LIMIT_FIXED * LIMIT_FIXED, 1, sum);
    for (int i = 0; i < 5; i++) {
        double half[5], mean = 0.0;
        for (int k = 0; k < 5; k++) {
            half[k] = 0.0;
            for (int l = 0; l < 5; l++)
                half[k] += function[i][l] * sum[product[k][l]];
            mean += function[i][k] * sum[S10 + k];
        }
        for (int j = 0; j <= i; j++) {
            double entry = 0.0;
            for (int k = 0; k < 5; k++)
                entry += function[j][k] * half[k];
            covariance[6 * i + j] = covariance[6 * j + i] = entry;
        }
        covariance[6 * i + 5] = covariance[6 * 5 + i] = mean;
    }
    covariance[35] = sum[S00];
    for (int i = 0; i < 36; i++)
        total += fabs(covariance[i]);
    for (int i = 0; i < 6; i++)
        total += fabs(value[i]);
    if (!(total <= DBL_MAX)) {
        memset(covariance, 0, 36 * sizeof(double));
        return MOMENTS_NOT_FINITE;
    }
    memcpy(sums, value, sizeof value);
    return 0;
}
