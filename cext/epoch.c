#include "epoch.h"

#include <float.h>
#include <math.h>

#include "clones.h"
#include "exactmath.h"
#include "median.h"
#include "threefry.h"

/* Standard deviation of a normal distribution over its median absolute deviation, 1/Phi^-1(3/4). */
static const double sigma_over_mad = 1.482602218505602;

/* Pixels in which the model is fainter than this many sigma are outside the object. */
static const double outside = 1.2;

/* Fewest pixels from which a noise level is taken. */
static const ptrdiff_t fewest_pixels = 50;

/* Relative difference of the measured level from the weight map's above which they do not agree. */
static const double agreement = 0.2;

/* Partial sums, so that the order of a sum does not depend on the width of vectors. */
#define LANES 8

/* Rings of the profile that fills holes; what is farther out counts for the last one. */
#define N_RING 128
#define MAX_RADIUS (N_RING - 1.0)
#define N_SUM 4

static inline int32_t usable(float value, float weight, int32_t flag)
{
    return (flag == 0) & (weight > 0.0f) & (weight <= FLT_MAX) & (value >= -FLT_MAX) & (value <= FLT_MAX);
}

/* How many pixels are usable, and how many would be without the bits of `given_up`. */
CLONES
static void count_usable(const float *restrict image, const float *restrict weight, const int32_t *restrict flag,
                         ptrdiff_t n, int32_t given_up, int32_t *n_good, int32_t *n_sound)
{
    int32_t good = 0, sound = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        int32_t is_sound = usable(image[i], weight[i], flag[i] & ~given_up);
        sound += is_sound;
        good += is_sound & (flag[i] == 0);
    }
    *n_good = good;
    *n_sound = sound;
}

/* The sum of a PSF by which it can be divided, or NaN. */
CLONES
static double divisible_sum(const double *restrict psf, ptrdiff_t n)
{
    double sums[LANES] = {0}, largest[LANES] = {0}, sum = 0.0, top = 0.0;
    ptrdiff_t whole = n / LANES * LANES;

    for (ptrdiff_t i = 0; i < whole; i += LANES)
        for (int j = 0; j < LANES; j++) {
            double size = fabs(psf[i + j]);
            sums[j] += psf[i + j];
            largest[j] = size > largest[j] ? size : largest[j];
        }
    for (ptrdiff_t i = whole; i < n; i++) {
        sums[i - whole] += psf[i];
        largest[i - whole] = fabs(psf[i]) > largest[i - whole] ? fabs(psf[i]) : largest[i - whole];
    }
    for (int j = 0; j < LANES; j++) {
        sum += sums[j];
        top = largest[j] > top ? largest[j] : top;
    }
    /* a number that is not finite makes the sum so */
    return sum >= DBL_MIN && sum <= 1.0 / DBL_MIN && top * (1.0 / sum) <= DBL_MAX ? sum : NAN;
}

/* The part of an axis of n pixels that [centre - reach, centre + reach] may cover. */
static void cover(double centre, double reach, ptrdiff_t n, ptrdiff_t *begin, ptrdiff_t *end)
{
    double low = centre - reach - 1.0, high = centre + reach + 2.0;
    *begin = low > 0.0 ? (low < (double)n ? (ptrdiff_t)low : n) : 0;
    *end = high > 0.0 ? (high < (double)n ? (ptrdiff_t)high : n) : 0;
}

void epoch_inspect(const float *image, const float *weight, const int32_t *flag, ptrdiff_t ny, ptrdiff_t nx,
                   const double *psf, ptrdiff_t n_psf, const double jacobian[4], const double offset[2],
                   double core_radius, int32_t given_up, int32_t *n_good, int32_t *n_sound, int32_t *n_core,
                   int32_t *n_core_good, double *psf_sum)
{
    const double dudx = jacobian[0], dudy = jacobian[1], dvdx = jacobian[2], dvdy = jacobian[3];
    const double x0 = 0.5 * (double)(nx - 1) + offset[0], y0 = 0.5 * (double)(ny - 1) + offset[1];
    const double scale = core_radius / fabs(dudx * dvdy - dudy * dvdx);
    ptrdiff_t x_begin, x_end, y_begin, y_end;

    count_usable(image, weight, flag, ny * nx, given_up, n_good, n_sound);
    *psf_sum = divisible_sum(psf, n_psf);
    *n_core = *n_core_good = 0;
    cover(x0, scale * sqrt(dudy * dudy + dvdy * dvdy), nx, &x_begin, &x_end);
    cover(y0, scale * sqrt(dudx * dudx + dvdx * dvdx), ny, &y_begin, &y_end);
    for (ptrdiff_t iy = y_begin; iy < y_end; iy++)
        for (ptrdiff_t ix = x_begin; ix < x_end; ix++) {
            double x = (double)ix - x0, y = (double)iy - y0;
            double u = dudx * x + dudy * y, v = dvdx * x + dvdy * y;
            ptrdiff_t i = iy * nx + ix;
            if (u * u + v * v <= core_radius * core_radius) {
                ++*n_core;
                *n_core_good += usable(image[i], weight[i], flag[i]);
            }
        }
}

CLONES
void epoch_take(const float *restrict image, const float *restrict weight, const int32_t *restrict flag, ptrdiff_t n,
                const double *restrict psf, ptrdiff_t n_psf, double psf_sum, double *restrict image_out,
                double *restrict weight_out, double *restrict psf_out)
{
    const double scale = 1.0 / psf_sum;

    for (ptrdiff_t i = 0; i < n_psf; i++)
        psf_out[i] = psf[i] * scale;
    for (ptrdiff_t i = 0; i < n; i++) {
        int32_t good = usable(image[i], weight[i], flag[i]);
        image_out[i] = (double)(good ? image[i] : 0.0f);
        weight_out[i] = (double)(good ? weight[i] : 0.0f);
    }
}

CLONES
void epoch_restore(const float *restrict image, const float *restrict weight, const int32_t *restrict flag, ptrdiff_t n,
                   int32_t given_up, double *restrict image_out)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        int32_t seen = usable(image[i], weight[i], flag[i] & ~given_up) & (flag[i] != 0);
        image_out[i] = seen ? (double)image[i] : image_out[i];
    }
}

/* Numbers where there is weight, +infinity elsewhere and instead of what is no number; returns how many there are. */
CLONES
static ptrdiff_t select_good(const double *restrict numbers, const double *restrict weight, ptrdiff_t n,
                             float *restrict out)
{
    int32_t count = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        int32_t good = (weight[i] > 0.0) & (numbers[i] >= -FLT_MAX) & (numbers[i] <= FLT_MAX);
        out[i] = good ? (float)numbers[i] : INFINITY;
        count += good;
    }
    for (ptrdiff_t i = n; i < median_length(n); i++)
        out[i] = INFINITY;
    return count;
}

/* Leave out the numbers within a circle around (x0, y0); returns how many are left. */
CLONES
static ptrdiff_t leave_out(float *restrict numbers, ptrdiff_t ny, ptrdiff_t nx, double x0, double y0,
                           double radius_squared)
{
    ptrdiff_t count = 0;
    for (ptrdiff_t iy = 0; iy < ny; iy++) {
        float *restrict row = numbers + iy * nx;
        double y = (double)iy - y0, x_squared = radius_squared - y * y;
        int32_t left = 0;
        for (int32_t ix = 0; ix < (int32_t)nx; ix++) {
            double x = (double)ix - x0;
            row[ix] = x * x > x_squared ? row[ix] : INFINITY;
            left += row[ix] < INFINITY;
        }
        count += left;
    }
    return count;
}

CLONES
static void deviations(const float *restrict numbers, ptrdiff_t n, double centre, float *restrict out)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        double size = fabs((double)numbers[i] - centre);
        float finite = (float)(size < FLT_MAX ? size : FLT_MAX);
        out[i] = numbers[i] < INFINITY ? finite : INFINITY;
    }
}

static double mad_sigma(const float *numbers, ptrdiff_t n, ptrdiff_t n_number, float *scratch)
{
    deviations(numbers, n, median_of(numbers, n, n_number), scratch);
    return sigma_over_mad * median_of(scratch, n, n_number);
}

/* 1 if all weights that are not 0 are equal to `first`. */
CLONES
static int constant(const double *restrict weight, ptrdiff_t n, double first)
{
    int32_t others = 0;
    for (ptrdiff_t i = 0; i < n; i++)
        others += (weight[i] != first) & (weight[i] != 0.0);
    return others == 0;
}

/* The median of the weights that are not 0. */
static double median_weight(const double *weight, ptrdiff_t n, float *scratch)
{
    double first = 0.0;

    for (ptrdiff_t i = 0; i < n && first == 0.0; i++)
        first = weight[i];
    if (first == 0.0)
        return NAN;
    if (constant(weight, n, first))
        return first;
    return median_of(scratch, median_length(n), select_good(weight, weight, n, scratch));
}

ptrdiff_t epoch_noise_scratch(ptrdiff_t n)
{
    return 2 * median_length(n);
}

void epoch_noise_level(const double *image, const double *weight, ptrdiff_t ny, ptrdiff_t nx, const double model[6],
                       float *scratch, epoch_noise *noise)
{
    const ptrdiff_t n = median_length(ny * nx);
    float *numbers = scratch, *work = scratch + n;
    const double variance = model[2] * model[2], flux = model[5];
    ptrdiff_t count;
    double sigma;

    noise->mapped = 1.0 / sqrt(median_weight(weight, ny * nx, work));
    count = select_good(image, weight, ny * nx, numbers);
    sigma = count > 0 ? mad_sigma(numbers, n, count, work) : NAN;
    if (sigma > 0.0 && variance > 0.0 && flux > 0.0) {
        /* peak exp(-r^2 / (2 variance)) < outside sigma */
        double limit = flux / (2.0 * 3.14159265358979323846 * variance) / (outside * sigma);
        if (limit >= DBL_MIN && limit <= DBL_MAX)
            count = leave_out(numbers, ny, nx, 0.5 * (double)(nx - 1) + model[3], 0.5 * (double)(ny - 1) + model[4],
                              2.0 * variance * exact_log(limit));
        sigma = count >= fewest_pixels ? mad_sigma(numbers, n, count, work) : NAN;
    }
    noise->measured = count >= fewest_pixels && sigma > 0.0 && sigma <= DBL_MAX;
    noise->sigma = noise->measured ? sigma : noise->mapped;
    noise->agrees = !(fabs(noise->sigma / noise->mapped - 1.0) > agreement);
}

/* Elliptical radius [pixel] of each pixel, at most MAX_RADIUS, cosine and sine of twice its position angle where the
 * ellipse is a circle, and the elliptical Gaussian in it. */
CLONES
static void draw(ptrdiff_t ny, ptrdiff_t nx, const double model[6], double *restrict radius, double *restrict light,
                 double *restrict cosine, double *restrict sine)
{
    const double g1 = model[0], g2 = model[1], variance = model[2] * model[2];
    const double scale = 1.0 / sqrt(1.0 - g1 * g1 - g2 * g2), inverse = -0.5 / variance;
    const double x0 = 0.5 * (double)(nx - 1) + model[3], y0 = 0.5 * (double)(ny - 1) + model[4];
    const double peak = model[5] / (2.0 * 3.14159265358979323846 * variance);

    for (ptrdiff_t iy = 0; iy < ny; iy++)
        for (int32_t ix = 0; ix < (int32_t)nx; ix++) {
            double x = (double)ix - x0, y = (double)iy - y0;
            double a = scale * ((1.0 - g1) * x - g2 * y), b = scale * ((1.0 + g1) * y - g2 * x);
            double squared = a * a + b * b, some = squared > 0.0 ? squared : 1.0;
            double r = sqrt(squared);
            radius[iy * nx + ix] = r < MAX_RADIUS ? r : MAX_RADIUS;
            light[iy * nx + ix] = peak * exact_exp(inverse * squared);
            cosine[iy * nx + ix] = (a * a - b * b) / some;
            sine[iy * nx + ix] = 2.0 * a * b / some;
        }
}

/* Whether a model can be drawn. */
static int drawable(const double model[6])
{
    const double g_squared = model[0] * model[0] + model[1] * model[1], variance = model[2] * model[2];
    return g_squared < 0.9999 && variance >= 1e-6 && variance <= 1e6 && fabs(model[3]) <= 1e6 && fabs(model[4]) <= 1e6 &&
           model[5] > 0.0 && model[5] <= 1e100;
}

/* What the model leaves, in rings one pixel wide, at the mean radius of each: a profile of `count` points.  It has the
 * mean, and the amplitudes of cosine and sine of twice the position angle: the ellipticity of the outer light is not
 * the model's, and without these two it would follow a shear by too little.  at[r] is the first point in ring r or
 * beyond. */
typedef struct {
    double radius[N_RING], value[N_RING], cosine[N_RING], sine[N_RING];
    ptrdiff_t at[N_RING], count;
} profile;

/* Rings with fewer pixels, or with less of their circle (all of it is 0.25), have no quadrupole. */
static const double fewest_in_ring = 8.0, least_of_circle = 0.02;

static void measure_profile(const double *image, const double *weight, ptrdiff_t n, const double *radius,
                            const double *light, profile *p)
{
    /* pixels side by side are mostly in one ring: their sums are kept apart so that none waits for another */
    double radii[N_SUM][N_RING] = {{0}}, values[N_SUM][N_RING] = {{0}};
    int32_t counts[N_SUM][N_RING] = {{0}};

    for (ptrdiff_t i = 0; i < n; i++) {
        ptrdiff_t ring = (ptrdiff_t)radius[i], part = i % N_SUM;
        int32_t good = weight[i] > 0.0;
        radii[part][ring] += good ? radius[i] : 0.0;
        values[part][ring] += good ? image[i] - light[i] : 0.0;
        counts[part][ring] += good;
    }
    p->count = 0;
    for (ptrdiff_t ring = 0; ring < N_RING; ring++) {
        double r = 0.0, value = 0.0;
        int32_t count = 0;
        for (int part = 0; part < N_SUM; part++) {
            r += radii[part][ring];
            value += values[part][ring];
            count += counts[part][ring];
        }
        p->at[ring] = p->count;
        if (count > 0) {
            p->radius[p->count] = r / (double)count;
            p->value[p->count] = value / (double)count;
            p->count++;
        }
    }
}

/* The largest of the numbers with weight, and of 0. */
CLONES
static double largest(const double *restrict numbers, const double *restrict weight, ptrdiff_t n)
{
    double tops[4 * LANES] = {0}, top = 0.0;
    ptrdiff_t whole = n / (4 * LANES) * (4 * LANES);

    for (ptrdiff_t i = 0; i < whole; i += 4 * LANES)
        for (int j = 0; j < 4 * LANES; j++) {
            double number = weight[i + j] > 0.0 ? numbers[i + j] : 0.0;
            tops[j] = number > tops[j] ? number : tops[j];
        }
    for (ptrdiff_t i = whole; i < n; i++)
        if (weight[i] > 0.0 && numbers[i] > top)
            top = numbers[i];
    for (int j = 0; j < 4 * LANES; j++)
        top = tops[j] > top ? tops[j] : top;
    return top;
}

/* Between which points of a profile a radius is, and how far from the first to the second; constant beyond the ends. */
static double between(const profile *p, double radius, ptrdiff_t *low, ptrdiff_t *high)
{
    ptrdiff_t next = p->at[(ptrdiff_t)radius];

    if (next < p->count && p->radius[next] <= radius)
        next++;
    *low = next > 0 ? next - 1 : 0;
    *high = next < p->count ? next : p->count - 1;
    return *high > *low ? (radius - p->radius[*low]) / (p->radius[*high] - p->radius[*low]) : 0.0;
}

static inline double mix(const double *values, ptrdiff_t low, ptrdiff_t high, double part)
{
    return values[low] + (values[high] - values[low]) * part;
}

/* Sums over the usable pixels of a ring: value v, cosine c, sine s. */
typedef struct {
    double n, v, c, s, cc, cs, vc, vs;
} ring_sums;

/* Least squares for v = constant + cosine c + sine s. */
static void fit_ring(const ring_sums *q, double *cosine, double *sine)
{
    /* about the means; c^2 + s^2 is 1 */
    const double n = 1.0 / q->n, cc = q->cc - q->c * q->c * n, cs = q->cs - q->c * q->s * n;
    const double ss = q->n - q->cc - q->s * q->s * n, vc = q->vc - q->v * q->c * n, vs = q->vs - q->v * q->s * n;
    const double determinant = cc * ss - cs * cs;
    const int enough = q->n >= fewest_in_ring && determinant > least_of_circle * q->n * q->n;

    *cosine = enough ? (vc * ss - vs * cs) / determinant : 0.0;
    *sine = enough ? (vs * cc - vc * cs) / determinant : 0.0;
}

/* The quadrupole of what the model and the mean profile leave: the slope of the profile inside a ring is no part of
 * it. */
static void measure_quadrupole(const double *image, const double *weight, ptrdiff_t n, const double *radius,
                               const double *light, const double *cosine, const double *sine, profile *p)
{
    ring_sums sums[N_RING];

    memset(sums, 0, sizeof sums);
    for (ptrdiff_t i = 0; i < n; i++)
        if (weight[i] > 0.0) {
            ptrdiff_t low, high;
            const double part = between(p, radius[i], &low, &high), c = cosine[i], s = sine[i];
            const double v = image[i] - light[i] - mix(p->value, low, high, part);
            ring_sums *q = &sums[(ptrdiff_t)radius[i]];
            q->n += 1.0;
            q->v += v;
            q->c += c;
            q->s += s;
            q->cc += c * c;
            q->cs += c * s;
            q->vc += v * c;
            q->vs += v * s;
        }
    for (ptrdiff_t ring = 0; ring < N_RING; ring++)
        if (sums[ring].n > 0.0)
            fit_ring(&sums[ring], &p->cosine[p->at[ring]], &p->sine[p->at[ring]]);
}

/* The profile at a place. */
static double interpolate(const profile *p, double radius, double cosine, double sine)
{
    ptrdiff_t low, high;
    double part;

    if (p->count == 0)
        return 0.0;
    part = between(p, radius, &low, &high);
    return mix(p->value, low, high, part) + mix(p->cosine, low, high, part) * cosine +
           mix(p->sine, low, high, part) * sine;
}

void epoch_fill(double *image, const double *weight, ptrdiff_t ny, ptrdiff_t nx, const double model[6],
                double *doubles)
{
    const ptrdiff_t n = ny * nx;
    const int modelled = drawable(model);
    const double brightest = modelled ? largest(image, weight, n) : 0.0;
    double *radius = doubles, *light = doubles + n, *cosine = doubles + 2 * n, *sine = doubles + 3 * n;
    profile p;

    if (modelled) {
        draw(ny, nx, model, radius, light, cosine, sine);
        measure_profile(image, weight, n, radius, light, &p);
        measure_quadrupole(image, weight, n, radius, light, cosine, sine, &p);
    }
    for (ptrdiff_t i = 0; i < n; i++)
        if (!(weight[i] > 0.0)) {
            double value = modelled ? light[i] + interpolate(&p, radius[i], cosine[i], sine[i]) : 0.0;
            /* where the model is extrapolated it must not invent a brighter source than the one that is seen */
            image[i] = value < brightest ? value : brightest;
        }
}

/* One variance for all pixels of the stamp. */
CLONES
static double scale_by_level(double *restrict weight, double *restrict noise, ptrdiff_t n, double sigma)
{
    const double inverse_variance = 1.0 / (sigma * sigma);
    int32_t count = 0;

    for (ptrdiff_t i = 0; i < n; i++) {
        int32_t good = weight[i] > 0.0;
        weight[i] = good ? inverse_variance : 0.0;
        noise[i] *= sigma;
        count += good;
    }
    return (double)count * inverse_variance;
}

/* The weight map's variance for each pixel, `hole` [sigma] where there is none. */
CLONES
static double scale_by_map(const double *restrict weight, double *restrict noise, ptrdiff_t n, double hole)
{
    double sums[LANES] = {0}, sum = 0.0;

    for (ptrdiff_t i = 0; i < n; i++) {
        double sigma = 1.0 / sqrt(weight[i] > 0.0 ? weight[i] : 1.0);
        noise[i] *= weight[i] > 0.0 ? sigma : hole;
    }
    for (ptrdiff_t i = 0; i < n / LANES * LANES; i += LANES)
        for (int j = 0; j < LANES; j++)
            sums[j] += weight[i + j];
    for (ptrdiff_t i = n / LANES * LANES; i < n; i++)
        sums[0] += weight[i];
    for (int j = 0; j < LANES; j++)
        sum += sums[j];
    return sum;
}

void epoch_finish(double *image, double *weight, ptrdiff_t ny, ptrdiff_t nx, const double model[6],
                  const uint64_t key[4], uint64_t place, uint32_t exposure, uint32_t ccd, int by_map, float *floats,
                  double *doubles, double *noise, epoch_noise *level, double *total_weight)
{
    const ptrdiff_t n = ny * nx;
    double hole;
    ptrdiff_t first_hole = 0;

    epoch_noise_level(image, weight, ny, nx, model, floats, level);
    hole = by_map ? level->mapped : level->sigma;
    while (first_hole < n && weight[first_hole] > 0.0)
        first_hole++;
    if (first_hole < n) {
        threefry_normal(key, place, exposure, ccd, EPOCH_FILL, n, doubles);
        for (ptrdiff_t i = first_hole; i < n; i++)
            image[i] += weight[i] > 0.0 ? 0.0 : hole * doubles[i];
    }
    threefry_normal(key, place, exposure, ccd, EPOCH_NOISE, n, noise);
    *total_weight = by_map ? scale_by_map(weight, noise, n, hole) : scale_by_level(weight, noise, n, level->sigma);
}
