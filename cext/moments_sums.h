/* Stamps as planes of doubles, and their sums under a Gaussian weight: what moments are made of.
 *
 * Included by sources that are compiled for each instruction set, see isa.h.
 */
#ifndef SHAPEMPI_MOMENTS_SUMS_H
#define SHAPEMPI_MOMENTS_SUMS_H

#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>

#include "moments.h"
#include "simd.h"

/* Sums of x^i y^j under a weight for i + j <= 4, in the order of the total degree and then of j. */
enum { S00, S10, S01, S20, S11, S02, S30, S21, S12, S03, S40, S31, S22, S13, S04, N_SUM };

/* An elliptical Gaussian of peak 1: its centre [pixel] and its covariance [pixel^2]. */
struct gaussian {
    double x, y, xx, xy, yy;
};

/* Pixels [ny, stride] as doubles; the columns beyond the stamp's nx are zero up to the stride, a whole number of
 * vectors. */
struct plane {
    double *pixel;
    ptrdiff_t ny, nx, stride;
};

/* fmin and fmax are calls, which care for NaN. */
static inline double smaller(double a, double b)
{
    return a < b ? a : b;
}

static inline double larger(double a, double b)
{
    return a > b ? a : b;
}

static inline double determinant(const struct gaussian *g)
{
    return g->xx * g->yy - g->xy * g->xy;
}

/* The first plane of scratch, aligned to vectors. */
static inline struct plane plane_in(double *scratch, ptrdiff_t ny, ptrdiff_t nx)
{
    uintptr_t start = ((uintptr_t)scratch + SIMD_BYTES - 1) / SIMD_BYTES * SIMD_BYTES;

    return (struct plane){(double *)start, ny, nx, (nx + SIMD_DOUBLES - 1) / SIMD_DOUBLES * SIMD_DOUBLES};
}

/* A number of an array as a double. */
static inline double number_at(const void *array, int type, ptrdiff_t i)
{
    switch (type) {
    case MOMENTS_FLOAT64:
        return ((const double *)array)[i];
    case MOMENTS_FLOAT32:
        return (double)((const float *)array)[i];
    case MOMENTS_BOOL:
        return ((const uint8_t *)array)[i] ? 1.0 : 0.0;
    default:
        return 1.0;
    }
}

/* read_stamp for types that the compiler knows. */
static inline __attribute__((always_inline)) int32_t read_as(const void *stamp, int stamp_type, const void *weight,
                                                             int weight_type, const struct plane *image,
                                                             double *restrict variance)
{
    const ptrdiff_t ny = image->ny, nx = image->nx, stride = image->stride;
    double *restrict pixel = image->pixel;
    int64_t any = 0, bad = 0;

    for (ptrdiff_t y = 0; y < ny; y++) {
        for (ptrdiff_t x = 0; x < nx; x++) {
            double value = number_at(stamp, stamp_type, y * nx + x), w = number_at(weight, weight_type, y * nx + x);
            int64_t good = (w > 0.0) & (w <= DBL_MAX);
            value = good ? value : 0.0;
            any |= good;
            bad |= !(fabs(value) <= DBL_MAX);
            pixel[y * stride + x] = value;
            if (variance)
                variance[y * stride + x] = good ? 1.0 / w : 0.0;
        }
        for (ptrdiff_t x = nx; x < stride; x++) {
            pixel[y * stride + x] = 0.0;
            if (variance)
                variance[y * stride + x] = 0.0;
        }
    }
    return any ? (bad ? MOMENTS_NOT_FINITE : 0) : MOMENTS_NO_PIXEL;
}

/* Read a stamp into `image` and one over its weights, unless that is NULL, into `variance`, a plane of the same
 * layout; an unusable pixel is zero in both, whatever it holds.  Returns flag bits. */
static inline __attribute__((always_inline)) int32_t read_stamp(const void *stamp, int stamp_type, const void *weight,
                                                                int weight_type, const struct plane *image,
                                                                double *variance)
{
    switch (4 * (stamp_type == MOMENTS_FLOAT32) + weight_type) {
    case MOMENTS_NONE:
        return read_as(stamp, MOMENTS_FLOAT64, weight, MOMENTS_NONE, image, variance);
    case MOMENTS_FLOAT64:
        return read_as(stamp, MOMENTS_FLOAT64, weight, MOMENTS_FLOAT64, image, variance);
    case MOMENTS_FLOAT32:
        return read_as(stamp, MOMENTS_FLOAT64, weight, MOMENTS_FLOAT32, image, variance);
    case MOMENTS_BOOL:
        return read_as(stamp, MOMENTS_FLOAT64, weight, MOMENTS_BOOL, image, variance);
    case 4 + MOMENTS_NONE:
        return read_as(stamp, MOMENTS_FLOAT32, weight, MOMENTS_NONE, image, variance);
    case 4 + MOMENTS_FLOAT64:
        return read_as(stamp, MOMENTS_FLOAT32, weight, MOMENTS_FLOAT64, image, variance);
    case 4 + MOMENTS_FLOAT32:
        return read_as(stamp, MOMENTS_FLOAT32, weight, MOMENTS_FLOAT32, image, variance);
    default:
        return read_as(stamp, MOMENTS_FLOAT32, weight, MOMENTS_BOOL, image, variance);
    }
}

/* A weight as the sums need it: with x given, y has the mean slope * x and the variance 1 / pyy. */
struct weight {
    double x, y;            /* centre */
    double pxx, pxy, pyy;   /* inverse covariance */
    double limit, reach2;   /* where it is cut, and -2 ln of that */
    double reach_x, summit; /* the ellipse of the cut: its half width, and x of its highest point */
    double inv_xx, slope;
    double factor; /* exp(-pyy) */
};

static inline struct weight weight_of(const struct gaussian *g, double limit)
{
    const double inv = 1.0 / determinant(g), reach2 = -2.0 * log(limit);
    struct weight w = {.x = g->x,
                       .y = g->y,
                       .pxx = g->yy * inv,
                       .pxy = -g->xy * inv,
                       .pyy = g->xx * inv,
                       .limit = limit,
                       .reach2 = reach2,
                       .reach_x = sqrt(reach2 * g->xx),
                       .summit = g->xy * sqrt(reach2 / g->yy),
                       .inv_xx = 1.0 / g->xx,
                       .slope = g->xy / g->xx};

    w.factor = exp(-w.pyy);
    return w;
}

static inline double exponent(const struct weight *w, double x, double y)
{
    return w->pxx * x * x + (2.0 * w->pxy * x + w->pyy * y) * y;
}

/* Rows that the ellipse of the cut reaches between two columns at x_low and x_high from its centre: first and last,
 * of which the first is larger if there are none.  There may be one too many where rounding matters. */
static inline void find_rows(const struct weight *w, double x_low, double x_high, ptrdiff_t ny, ptrdiff_t *first,
                             ptrdiff_t *last)
{
    const double top = smaller(larger(w->summit, x_low), x_high), bottom = smaller(larger(-w->summit, x_low), x_high);
    const double given = 1.0 / w->pyy;
    const double high = w->slope * top + sqrt(larger(w->reach2 - top * top * w->inv_xx, 0.0) * given);
    const double low = w->slope * bottom - sqrt(larger(w->reach2 - bottom * bottom * w->inv_xx, 0.0) * given);

    *first = (ptrdiff_t)smaller(larger(ceil(w->y + low - 1e-6), 0.0), (double)ny);
    *last = (ptrdiff_t)larger(smaller(floor(w->y + high + 1e-6), (double)(ny - 1)), -1.0);
}

/* Sums over a block of columns, one column in each place: out[j] = sum of y^j w d for j <= degree.
 *
 * Down a column the exponent is a parabola: w(y + 1) = w(y) r(y) and r(y + 1) = r(y) e^-pyy, so that a block needs
 * two vectors of exponentials.  Errors grow as the square of the number of rows: to 1e-12 over 101 of them. */
static inline void sum_block(const double *restrict pixel, ptrdiff_t stride, ptrdiff_t n_row, vdouble x, double y0,
                             const struct weight *weight, int degree, vdouble *restrict out)
{
    const vdouble limit = vdouble_all(weight->limit), zero = {0};
    vdouble y = vdouble_all(y0);
    vdouble w = vdouble_exp(-0.5 * (weight->pxx * x * x + (2.0 * weight->pxy * x + weight->pyy * y) * y));
    vdouble r = vdouble_exp(-(weight->pxy * x + weight->pyy * (y + 0.5)));
    vdouble t0 = zero, t1 = zero, t2 = zero, t3 = zero, t4 = zero;

    for (ptrdiff_t row = 0; row < n_row; row++) {
        vint64 inside = w >= limit;
        vdouble d = (vdouble)((vint64)vdouble_load(pixel + row * stride) & inside) * w;
        vdouble dy = d * y, dyy = dy * y;
        t0 += d;
        t1 += dy;
        t2 += dyy;
        if (degree > 2) {
            t3 += dyy * y;
            t4 += dyy * (y * y);
        }
        w *= r;
        r *= weight->factor;
        y += 1.0;
    }
    out[0] = t0;
    out[1] = t1;
    out[2] = t2;
    out[3] = t3;
    out[4] = t4;
}

/* The same with an exponential for each pixel, for weights so narrow that the recurrence would underflow. */
static inline void sum_narrow_block(const double *restrict pixel, ptrdiff_t stride, ptrdiff_t n_row, vdouble x,
                                    double y0, const struct weight *weight, vdouble *restrict out)
{
    const vdouble limit = vdouble_all(weight->limit), zero = {0};
    vdouble y = vdouble_all(y0);

    for (int j = 0; j <= 4; j++)
        out[j] = zero;
    for (ptrdiff_t row = 0; row < n_row; row++) {
        vdouble w = vdouble_exp(-0.5 * (weight->pxx * x * x + (2.0 * weight->pxy * x + weight->pyy * y) * y));
        vint64 inside = w >= limit;
        vdouble d = (vdouble)((vint64)vdouble_load(pixel + row * stride) & inside) * w;
        for (int j = 0; j <= 4; j++) {
            out[j] += d;
            d *= y;
        }
        y += 1.0;
    }
}

/* Sums of x^i y^j w d over the pixels whose weight w is at least `limit`, x and y from the weight's centre.  The
 * covariance must be positive definite.  Without `full`, i + j <= 2 only; the others are not written. */
static inline __attribute__((always_inline)) void sum_stamp(const struct plane *plane, const struct gaussian *g,
                                                            double limit, int full, double *restrict sum)
{
    const struct weight w = weight_of(g, limit);
    const double low = larger(ceil(w.x - w.reach_x - 1e-6), 0.0);
    const double high = smaller(floor(w.x + w.reach_x + 1e-6), (double)(plane->nx - 1));
    const int n_sum = full ? N_SUM : S02 + 1;
    vdouble total[N_SUM] = {{0}}, t[5];

    for (ptrdiff_t x0 = low <= high ? (ptrdiff_t)low / SIMD_DOUBLES * SIMD_DOUBLES : plane->nx; (double)x0 <= high;
         x0 += SIMD_DOUBLES) {
        const double left = (double)x0 - w.x, right = left + (SIMD_DOUBLES - 1);
        const vdouble x = vdouble_index() + left, x2 = x * x;
        const double *pixel;
        ptrdiff_t first, last;
        double top, bottom, steepest;

        find_rows(&w, larger(left, -w.reach_x), smaller(right, w.reach_x), plane->ny, &first, &last);
        if (first > last)
            continue;
        /* the exponent of the recurrence is largest at a corner of the block, one row further */
        bottom = (double)first - w.y;
        top = (double)(last + 1) - w.y;
        steepest = larger(larger(exponent(&w, left, bottom), exponent(&w, right, bottom)),
                          larger(exponent(&w, left, top), exponent(&w, right, top)));
        pixel = plane->pixel + first * plane->stride + x0;
        if (steepest < 1200.0)
            sum_block(pixel, plane->stride, last - first + 1, x, bottom, &w, full ? 4 : 2, t);
        else
            sum_narrow_block(pixel, plane->stride, last - first + 1, x, bottom, &w, t);
        total[S00] += t[0];
        total[S10] += t[0] * x;
        total[S01] += t[1];
        total[S20] += t[0] * x2;
        total[S11] += t[1] * x;
        total[S02] += t[2];
        if (full) {
            total[S30] += t[0] * x * x2;
            total[S21] += t[1] * x2;
            total[S12] += t[2] * x;
            total[S03] += t[3];
            total[S40] += t[0] * x2 * x2;
            total[S31] += t[1] * x * x2;
            total[S22] += t[2] * x2;
            total[S13] += t[3] * x;
            total[S04] += t[4];
        }
    }
    for (int i = 0; i < n_sum; i++)
        sum[i] = vdouble_sum(total[i]);
}

#endif
