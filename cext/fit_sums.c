#include "fit_sums.h"

#include <math.h>
#include <string.h>

#include "isa.h"
#include "simd.h"

/* The model is summed where chi^2 < CUT: what is beyond, 1.5e-8 of the peak, would move parameters by 4e-7 of their
 * errors. */
#define CUT 36.0

/* Rows that the recurrence runs over before the exponential is computed again: it loses n^2/2 roundings. */
#define LONGEST_RUN 32

/* Exponents from which a recurrence may start: below, the start could be zero in numbers but not what follows. */
#define SMALLEST_EXPONENT (-600.0)

#define TWO_PI 6.28318530717958647693

/* Moments x^a y^b with a + b <= ORDER stand by degree, then by the power of y. */
enum { ORDER = 4, N_MOMENT = 15 };

/* One component in one epoch, in pixels. */
typedef struct {
    double vv, uv, uu;     /* Sigma^-1 */
    double xx, xy, yy;     /* the same in pixels: chi^2 = xx x^2 + 2 xy x y + yy y^2 */
    double determinant;    /* xx yy - xy^2 */
    double reach, lean;    /* largest x of the ellipse chi^2 < CUT, x where it is highest */
    double height;         /* of a unit flux, per pixel */
} component;

typedef struct {
    double x, y; /* [pixel] */
} centre;

static centre find_centre(const fit_epoch *e, double v, double u)
{
    const double det = e->dudx * e->dvdy - e->dudy * e->dvdx;
    centre c;
    u += e->u;
    v += e->v;
    c.x = 0.5 * (double)(e->nx - 1) + (e->dvdy * u - e->dudy * v) / det;
    c.y = 0.5 * (double)(e->ny - 1) + (e->dudx * v - e->dvdx * u) / det;
    return c;
}

/* 0 if the pixels are too small for numbers. */
static int find_component(const fit_epoch *e, double e1, double e2, double T, component *c)
{
    const double area = fabs(e->dudx * e->dvdy - e->dudy * e->dvdx);
    const double rr = 0.5 * T * (1.0 - e1) + e->variance, cc = 0.5 * T * (1.0 + e1) + e->variance;
    const double rc = 0.5 * T * e2, det = rr * cc - rc * rc;
    c->vv = cc / det;
    c->uv = -rc / det;
    c->uu = rr / det;
    c->xx = c->vv * e->dvdx * e->dvdx + 2.0 * c->uv * e->dvdx * e->dudx + c->uu * e->dudx * e->dudx;
    c->yy = c->vv * e->dvdy * e->dvdy + 2.0 * c->uv * e->dvdy * e->dudy + c->uu * e->dudy * e->dudy;
    c->xy = c->vv * e->dvdx * e->dvdy + c->uv * (e->dvdx * e->dudy + e->dvdy * e->dudx) + c->uu * e->dudx * e->dudy;
    c->determinant = area * area / det;
    c->reach = sqrt(CUT * c->yy / c->determinant);
    c->lean = -c->xy * sqrt(CUT / (c->xx * c->determinant));
    c->height = area / (TWO_PI * sqrt(det));
    return c->determinant > 1e-280 && c->xx < 1e280 && c->yy < 1e280;
}

static double positive(double x)
{
    return x > 0.0 ? x : 0.0;
}

/* The rows [*first, *last) in which the ellipse chi^2 < CUT meets the columns from `left` to `right`. */
static void find_rows(const component *c, const centre *at, ptrdiff_t ny, double left, double right, ptrdiff_t *first,
                      ptrdiff_t *last)
{
    double a = left - at->x, b = right - at->x, x, lowest, highest;

    *first = *last = 0;
    if (!(a < c->reach && b > -c->reach))
        return;
    a = a > -c->reach ? a : -c->reach;
    b = b < c->reach ? b : c->reach;
    x = c->lean < a ? a : c->lean > b ? b : c->lean;
    highest = at->y + (sqrt(positive(CUT * c->yy - c->determinant * x * x)) - c->xy * x) / c->yy;
    x = -c->lean < a ? a : -c->lean > b ? b : -c->lean;
    lowest = at->y - (sqrt(positive(CUT * c->yy - c->determinant * x * x)) + c->xy * x) / c->yy;
    if (!(highest >= 0.0 && lowest <= (double)(ny - 1)))
        return;
    *first = lowest > 0.0 ? (ptrdiff_t)ceil(lowest) : 0;
    *last = highest < (double)(ny - 1) ? (ptrdiff_t)highest + 1 : ny;
}

/* Sums over some rows of a vector of columns, with m = exp(-chi^2/2) and y counted from the centre:
 * product[b] of w m^2 y^b and data[b] of w d m y^b; power[b - 1] is y^b for all rows.
 *
 * The exponent is quadratic in y: m(y + 1) = m(y) r(y) and r(y + 1) = r(y) exp(-yy), exactly. */
static inline void sum_rows(const component *c, const double *restrict weight, const double *restrict signal,
                            const double *restrict const power[ORDER], vdouble x, ptrdiff_t first, ptrdiff_t last,
                            double growth, vdouble *restrict product, vdouble *restrict data)
{
    const vdouble zero = {0};
    vdouble p0 = zero, p1 = zero, p2 = zero, p3 = zero, p4 = zero, s0 = zero, s1 = zero, s2 = zero, s3 = zero,
            s4 = zero;

    while (first < last) {
        const double y = power[0][first];
        vdouble exponent = -0.5 * (c->xx * x * x + y * (2.0 * c->xy * x + c->yy * y));
        vdouble m = vdouble_exp(exponent), ratio = vdouble_exp(-(c->xy * x + c->yy * (y + 0.5)));
        /* Along a row the exponent is smallest at one of the ends. */
        const int safe = exponent[0] > SMALLEST_EXPONENT && exponent[SIMD_DOUBLES - 1] > SMALLEST_EXPONENT;
        ptrdiff_t end = first + (safe ? LONGEST_RUN : 1);
        end = end < last ? end : last;
        for (ptrdiff_t i = first; i < end; i++) {
            const vdouble p = m * (m * vdouble_load(weight + FIT_COLUMNS * i));
            const vdouble s = m * vdouble_load(signal + FIT_COLUMNS * i);
            p0 += p;
            p1 += p * power[0][i];
            p2 += p * power[1][i];
            p3 += p * power[2][i];
            p4 += p * power[3][i];
            s0 += s;
            s1 += s * power[0][i];
            s2 += s * power[1][i];
            s3 += s * power[2][i];
            s4 += s * power[3][i];
            m *= ratio;
            ratio *= growth;
        }
        first = end;
    }
    product[0] = p0, product[1] = p1, product[2] = p2, product[3] = p3, product[4] = p4;
    data[0] = s0, data[1] = s1, data[2] = s2, data[3] = s3, data[4] = s4;
}

/* Add x^a row[b] to the moments: row[b] holds sums of y^b over the rows of some columns. */
static inline void add_moments(const vdouble *restrict row, vdouble x, vdouble *restrict moment)
{
    const vdouble x2 = x * x, x3 = x2 * x, x4 = x2 * x2;
    moment[0] += row[0];
    moment[1] += x * row[0];
    moment[2] += row[1];
    moment[3] += x2 * row[0];
    moment[4] += x * row[1];
    moment[5] += row[2];
    moment[6] += x3 * row[0];
    moment[7] += x2 * row[1];
    moment[8] += x * row[2];
    moment[9] += row[3];
    moment[10] += x4 * row[0];
    moment[11] += x3 * row[1];
    moment[12] += x2 * row[2];
    moment[13] += x * row[3];
    moment[14] += row[4];
}

/* A sum with the model and one with the data. */
typedef double pair __attribute__((vector_size(16)));

/* The moments of one degree of x and y become those of v = vx x + vy y and u = ux x + uy y. */
static inline __attribute__((always_inline)) void turn_degree(int degree, double vx, double vy, double ux, double uy,
                                                              pair *restrict moment)
{
    pair left[ORDER + 1], rest[ORDER + 1];
    for (int i = 0; i <= degree; i++)
        left[i] = moment[i];
    /* One power of v or u more takes one power of x or y away. */
#pragma GCC unroll 5
    for (int u_power = 0; u_power <= degree; u_power++) {
#pragma GCC unroll 5
        for (int i = 0; i <= degree - u_power; i++)
            rest[i] = left[i];
#pragma GCC unroll 5
        for (int n = degree - u_power; n > 0; n--)
#pragma GCC unroll 5
            for (int i = 0; i < n; i++)
                rest[i] = vx * rest[i] + vy * rest[i + 1];
        moment[u_power] = rest[0];
#pragma GCC unroll 5
        for (int i = 0; i < degree - u_power; i++)
            left[i] = ux * left[i] + uy * left[i + 1];
    }
}

/* The derivatives of orders 2, 3 and 4 with respect to the centre from the moments of q = Sigma^-1 (position). */
static inline void differentiate(const component *c, const pair *restrict m, pair *restrict d)
{
    const double vv = c->vv, uv = c->uv, uu = c->uu;
    d[0] = m[3] - vv * m[0];
    d[1] = m[4] - uv * m[0];
    d[2] = m[5] - uu * m[0];
    d[3] = m[6] - 3.0 * vv * m[1];
    d[4] = m[7] - vv * m[2] - 2.0 * uv * m[1];
    d[5] = m[8] - uu * m[1] - 2.0 * uv * m[2];
    d[6] = m[9] - 3.0 * uu * m[2];
    d[7] = m[10] - 6.0 * vv * m[3] + 3.0 * vv * vv * m[0];
    d[8] = m[11] - 3.0 * (vv * m[4] + uv * m[3] - vv * uv * m[0]);
    d[9] = m[12] - vv * m[5] - uu * m[3] - 4.0 * uv * m[4] + (vv * uu + 2.0 * uv * uv) * m[0];
    d[10] = m[13] - 3.0 * (uu * m[4] + uv * m[5] - uu * uv * m[0]);
    d[11] = m[14] - 6.0 * uu * m[5] + 3.0 * uu * uu * m[0];
}

/* Add the sums of one component, given the moments of w m^2 and of w d m with m of peak 1. */
static void add_sums(const fit_epoch *e, const component *c, pair *restrict moment, fit_sums *restrict sums)
{
    const double vx = c->vv * e->dvdx + c->uv * e->dudx, vy = c->vv * e->dvdy + c->uv * e->dudy;
    const double ux = c->uv * e->dvdx + c->uu * e->dudx, uy = c->uv * e->dvdy + c->uu * e->dudy;
    const pair scale = {c->height * c->height, c->height};
    pair derivative[FIT_CURVATURE];
    double m[N_MOMENT], md[3];

    for (int i = 0; i < N_MOMENT; i++)
        moment[i] *= scale;
    turn_degree(1, vx, vy, ux, uy, moment + 1);
    turn_degree(2, vx, vy, ux, uy, moment + 3);
    turn_degree(3, vx, vy, ux, uy, moment + 6);
    turn_degree(4, vx, vy, ux, uy, moment + 10);
    differentiate(c, moment, derivative);
    for (int i = 0; i < FIT_CURVATURE; i++) {
        sums->model_curvature[i] += derivative[i][0];
        sums->data_curvature[i] += derivative[i][1];
    }
    sums->data[0] += moment[0][1];
    sums->data[1] += moment[1][1];
    sums->data[2] += moment[2][1];
    sums->data[3] += derivative[2][1] - derivative[0][1];
    sums->data[4] += 2.0 * derivative[1][1];
    sums->data[5] += derivative[2][1] + derivative[0][1];
    for (int i = 0; i < N_MOMENT; i++)
        m[i] = moment[i][0];
    for (int i = 0; i < 3; i++)
        md[i] = derivative[i][0];

    /* q_u^2 - q_v^2, 2 q_u q_v and q_u^2 + q_v^2 less the same of Sigma^-1 */
    const double minus = c->uu - c->vv, cross = 2.0 * c->uv, plus = c->uu + c->vv;
    const double sum_minus = m[5] - m[3], sum_cross = 2.0 * m[4], sum_plus = m[5] + m[3];
    sums->products[0][0] += m[0];
    sums->products[1][0] += m[1];
    sums->products[1][1] += m[3];
    sums->products[2][0] += m[2];
    sums->products[2][1] += m[4];
    sums->products[2][2] += m[5];
    sums->products[3][0] += md[2] - md[0];
    sums->products[3][1] += m[8] - m[6] - minus * m[1];
    sums->products[3][2] += m[9] - m[7] - minus * m[2];
    sums->products[3][3] += m[14] - 2.0 * m[12] + m[10] - minus * (2.0 * sum_minus - minus * m[0]);
    sums->products[4][0] += 2.0 * md[1];
    sums->products[4][1] += 2.0 * m[7] - cross * m[1];
    sums->products[4][2] += 2.0 * m[8] - cross * m[2];
    sums->products[4][3] += 2.0 * (m[13] - m[11]) - cross * sum_minus - minus * (sum_cross - cross * m[0]);
    sums->products[4][4] += 4.0 * m[12] - cross * (2.0 * sum_cross - cross * m[0]);
    sums->products[5][0] += md[2] + md[0];
    sums->products[5][1] += m[8] + m[6] - plus * m[1];
    sums->products[5][2] += m[9] + m[7] - plus * m[2];
    sums->products[5][3] += m[14] - m[10] - plus * sum_minus - minus * (sum_plus - plus * m[0]);
    sums->products[5][4] += 2.0 * (m[13] + m[11]) - plus * sum_cross - cross * (sum_plus - plus * m[0]);
    sums->products[5][5] += m[14] + 2.0 * m[12] + m[10] - plus * (2.0 * sum_plus - plus * m[0]);
}

/* One component: all sums follow from those of w m^2 and w d m times powers of x and y. */
static void add_gaussian(const fit_epoch *e, const component *c, const centre *at, fit_sums *sums)
{
    vdouble product[N_MOMENT] = {{0}}, signal[N_MOMENT] = {{0}};
    pair moment[N_MOMENT];
    const double growth = exp(-c->yy);
    const ptrdiff_t stride = e->ny + FIT_COLUMNS;
    const double *const power[ORDER] = {e->scratch, e->scratch + stride, e->scratch + 2 * stride,
                                        e->scratch + 3 * stride};

    for (ptrdiff_t i = 0; i < e->ny; i += SIMD_DOUBLES) {
        const vdouble y = vdouble_index() + ((double)i - at->y), y2 = y * y;
        vdouble_store(e->scratch + i, y);
        vdouble_store(e->scratch + stride + i, y2);
        vdouble_store(e->scratch + 2 * stride + i, y2 * y);
        vdouble_store(e->scratch + 3 * stride + i, y2 * y2);
    }
    for (ptrdiff_t left = 0; left < e->nx; left += FIT_COLUMNS) {
        const ptrdiff_t right = left + FIT_COLUMNS - 1 < e->nx - 1 ? left + FIT_COLUMNS - 1 : e->nx - 1;
        ptrdiff_t first, last;
        find_rows(c, at, e->ny, (double)left, (double)right, &first, &last);
        if (first >= last)
            continue;
        for (int lane = 0; lane < FIT_COLUMNS; lane += SIMD_DOUBLES) {
            const ptrdiff_t pixel = left * e->ny + lane;
            const vdouble x = vdouble_index() + ((double)(left + lane) - at->x);
            vdouble p[ORDER + 1], s[ORDER + 1];
            sum_rows(c, e->weight + pixel, e->signal + pixel, power, x, first, last, growth, p, s);
            add_moments(p, x, product);
            add_moments(s, x, signal);
        }
    }
    for (int i = 0; i < N_MOMENT; i++) {
        moment[i][0] = vdouble_sum(product[i]);
        moment[i][1] = vdouble_sum(signal[i]);
    }
    add_sums(e, c, moment, sums);
}

/* Several components: basis and curvature are made pixel by pixel. */
static void add_mixture(const fit_epoch *e, const fit_model *model, const component *c, const centre *at,
                        int largest, fit_sums *sums)
{
    vdouble product[FIT_BASIS][FIT_BASIS] = {{{0}}}, data[FIT_BASIS] = {{0}};
    vdouble model_curvature[FIT_CURVATURE] = {{0}}, data_curvature[FIT_CURVATURE] = {{0}};

    for (ptrdiff_t left = 0; left < e->nx; left += FIT_COLUMNS) {
        const ptrdiff_t right = left + FIT_COLUMNS - 1 < e->nx - 1 ? left + FIT_COLUMNS - 1 : e->nx - 1;
        ptrdiff_t first, last;
        find_rows(c + largest, at, e->ny, (double)left, (double)right, &first, &last);
        for (int lane = 0; lane < FIT_COLUMNS; lane += SIMD_DOUBLES) {
            const vdouble x = vdouble_index() + ((double)(left + lane) - at->x);
            for (ptrdiff_t row = first; row < last; row++) {
                const ptrdiff_t pixel = left * e->ny + FIT_COLUMNS * row + lane;
                const double y = (double)row - at->y;
                const vdouble v = e->dvdx * x + e->dvdy * y, u = e->dudx * x + e->dudy * y;
                const vdouble weight = vdouble_load(e->weight + pixel), signal = vdouble_load(e->signal + pixel);
                vdouble b[FIT_BASIS] = {{0}}, h[FIT_CURVATURE] = {{0}}, weighted;
                for (int k = 0; k < model->n; k++) {
                    const double f = model->size[k], vv = c[k].vv, uv = c[k].uv, uu = c[k].uu;
                    const vdouble qv = vv * v + uv * u, qu = uv * v + uu * u;
                    const vdouble m = model->flux[k] * c[k].height * vdouble_exp(-0.5 * (v * qv + u * qu));
                    const vdouble fm = f * m, ffm = f * fm, v2 = qv * qv, u2 = qu * qu, vu = qv * qu;
                    b[0] += m;
                    b[1] += m * qv;
                    b[2] += m * qu;
                    b[3] += fm * (u2 - v2 - (uu - vv));
                    b[4] += fm * (2.0 * (vu - uv));
                    b[5] += fm * (u2 + v2 - (uu + vv));
                    h[0] += m * (v2 - vv);
                    h[1] += m * (vu - uv);
                    h[2] += m * (u2 - uu);
                    h[3] += fm * (qv * (v2 - 3.0 * vv));
                    h[4] += fm * (qu * (v2 - vv) - 2.0 * uv * qv);
                    h[5] += fm * (qv * (u2 - uu) - 2.0 * uv * qu);
                    h[6] += fm * (qu * (u2 - 3.0 * uu));
                    h[7] += ffm * (v2 * (v2 - 6.0 * vv) + 3.0 * vv * vv);
                    h[8] += ffm * (vu * (v2 - 3.0 * vv) - 3.0 * uv * (v2 - vv));
                    h[9] += ffm * (v2 * u2 - vv * u2 - uu * v2 - 4.0 * uv * vu + (vv * uu + 2.0 * uv * uv));
                    h[10] += ffm * (vu * (u2 - 3.0 * uu) - 3.0 * uv * (u2 - uu));
                    h[11] += ffm * (u2 * (u2 - 6.0 * uu) + 3.0 * uu * uu);
                }
                for (int i = 0; i < FIT_BASIS; i++) {
                    weighted = weight * b[i];
                    for (int j = 0; j <= i; j++)
                        product[i][j] += weighted * b[j];
                    data[i] += signal * b[i];
                }
                weighted = weight * b[0];
                for (int i = 0; i < FIT_CURVATURE; i++) {
                    model_curvature[i] += weighted * h[i];
                    data_curvature[i] += signal * h[i];
                }
            }
        }
    }
    for (int i = 0; i < FIT_BASIS; i++) {
        for (int j = 0; j <= i; j++)
            sums->products[i][j] += vdouble_sum(product[i][j]);
        sums->data[i] += vdouble_sum(data[i]);
    }
    for (int i = 0; i < FIT_CURVATURE; i++) {
        sums->model_curvature[i] += vdouble_sum(model_curvature[i]);
        sums->data_curvature[i] += vdouble_sum(data_curvature[i]);
    }
}

static void add(const fit_epoch *epoch, const fit_model *model, const double *parameters, fit_sums *sums)
{
    const double g1 = parameters[2], g2 = parameters[3], T = parameters[4];
    const double f = 2.0 / (1.0 + g1 * g1 + g2 * g2);
    const centre at = find_centre(epoch, parameters[0], parameters[1]);
    component c[FIT_MAX_COMPONENTS];
    int largest = 0;

    for (int i = 0; i < model->n; i++) {
        if (!find_component(epoch, f * g1, f * g2, model->size[i] * T, &c[i]))
            return;
        if (model->size[i] * T > model->size[largest] * T)
            largest = i;
    }
    if (model->n == 1)
        add_gaussian(epoch, c, &at, sums);
    else
        add_mixture(epoch, model, c, &at, largest, sums);
}

static inline vdouble zero_unless(vint64 condition, vdouble x)
{
    return (vdouble)(condition & (vint64)x);
}

/* Some of the numbers p[0], p[1], ..., of which there are `all`: those from n on become zero. */
static inline vdouble load_some(const double *p, ptrdiff_t n, ptrdiff_t all)
{
    double some[SIMD_DOUBLES] = {0};

    if (n >= SIMD_DOUBLES)
        return vdouble_load(p);
    if (all >= SIMD_DOUBLES)
        return zero_unless(vdouble_index() < vdouble_all((double)n), vdouble_load(p));
    for (ptrdiff_t i = 0; i < n; i++)
        some[i] = p[i];
    return vdouble_load(some);
}

static ptrdiff_t pack_weight(const double *restrict weight, ptrdiff_t ny, ptrdiff_t nx, double *restrict packed)
{
    const double *const end = weight + ny * nx;
    const vdouble zero = {0};
    vdouble n = zero;
    for (ptrdiff_t y = 0; y < ny; y++) {
        double *restrict to = packed + FIT_COLUMNS * y;
        for (ptrdiff_t x = 0; x < nx; x += FIT_COLUMNS) {
            for (ptrdiff_t lane = x; lane < x + FIT_COLUMNS; lane += SIMD_DOUBLES) {
                const vdouble w = load_some(weight + lane, nx - lane, end - weight - lane);
                vdouble_store(to + lane - x, zero_unless(w > zero, w));
                n += zero_unless(w > zero, vdouble_all(1.0));
            }
            to += FIT_COLUMNS * ny;
        }
        weight += nx;
    }
    return (ptrdiff_t)vdouble_sum(n);
}

static double pack_signal(const double *restrict weight, const double *restrict image, ptrdiff_t ny, ptrdiff_t nx,
                          double *restrict packed)
{
    const double *const end = image + ny * nx;
    const vdouble zero = {0};
    vdouble square = zero;
    for (ptrdiff_t y = 0; y < ny; y++) {
        ptrdiff_t at = FIT_COLUMNS * y;
        for (ptrdiff_t x = 0; x < nx; x += FIT_COLUMNS) {
            for (ptrdiff_t lane = x; lane < x + FIT_COLUMNS; lane += SIMD_DOUBLES) {
                const vdouble w = vdouble_load(weight + at + lane - x);
                /* What a pixel without weight holds may be no number. */
                const vdouble d = zero_unless(w > zero, load_some(image + lane, nx - lane, end - image - lane));
                vdouble_store(packed + at + lane - x, w * d);
                square += w * d * d;
            }
            at += FIT_COLUMNS * ny;
        }
        image += nx;
    }
    return vdouble_sum(square);
}

const fit_code ISA_NAME(fit_code) = {pack_weight, pack_signal, add};
