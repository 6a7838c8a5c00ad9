#include "psf.h"

#include <math.h>
#include <string.h>

#include "clones.h"

/* Half width of the interpolation kernel [model pixel]; PSFEx resamples its own models with the same one. */
#define LANCZOS_A 4
#define N_TAP (2 * LANCZOS_A)

CLONES
void psf_evaluate(const double *restrict coefficients, ptrdiff_t n_pixel, int degree, double x, double y,
                  double *restrict model)
{
    const double *restrict basis = coefficients;
    double y_power = 1.0;

    if (!isfinite(x) || !isfinite(y)) {
        for (ptrdiff_t i = 0; i < n_pixel; i++)
            model[i] = NAN;
        return;
    }
    memset(model, 0, (size_t)n_pixel * sizeof(double));
    for (int q = 0; q <= degree; q++) {
        double term = y_power;
        for (int p = 0; p <= degree - q; p++) {
            for (ptrdiff_t i = 0; i < n_pixel; i++)
                model[i] += term * basis[i];
            basis += n_pixel;
            term *= x;
        }
        y_power *= y;
    }
}

ptrdiff_t psf_scratch_size(ptrdiff_t mx, ptrdiff_t size)
{
    return 2 * mx + 3 * size + mx * size;
}

/* First index and normalised weights of the Lanczos interpolation at a real index of a row of n pixels.
 *
 * With d_k = f - k the distance to tap k, the kernel sinc(d) sinc(d / a) is proportional to
 * (-1)^k sin(pi d / a) / d^2: the rest is the same for all taps and falls out of the normalisation.
 * A position that reaches no pixel, or is not a number, gets weights of zero.
 */
static ptrdiff_t lanczos_taps(double position, ptrdiff_t n, double *restrict weight)
{
    /* sin and cos of pi k / a for k = -3 .. 4 */
    static const double half = 0.70710678118654752440;
    const double sin_k[N_TAP] = {-half, -1.0, -half, 0.0, half, 1.0, half, 0.0};
    const double cos_k[N_TAP] = {-half, 0.0, half, 1.0, half, 0.0, -half, -1.0};
    static const double pi_a = 3.14159265358979323846 / LANCZOS_A;
    double whole, fraction, sin_f, cos_f, sum = 0.0;

    memset(weight, 0, N_TAP * sizeof(double));
    if (!(position > -LANCZOS_A && position < (double)(n - 1 + LANCZOS_A)))
        return 0;
    whole = floor(position);
    fraction = position - whole;
    if (fraction < 1e-14) { /* on a pixel: that pixel, exactly */
        weight[LANCZOS_A - 1] = 1.0;
    } else {
        sin_f = sin(pi_a * fraction);
        cos_f = cos(pi_a * fraction);
        for (int k = 0; k < N_TAP; k++) {
            double d = fraction - (double)(k - LANCZOS_A + 1);
            double w = (sin_f * cos_k[k] - cos_f * sin_k[k]) / (d * d);
            weight[k] = (k & 1) ? w : -w;
            sum += weight[k];
        }
        for (int k = 0; k < N_TAP; k++)
            weight[k] /= sum;
    }
    return (ptrdiff_t)whole - LANCZOS_A + 1;
}

/* out = sum of w[k] rows[first + k], for n_row rows of n numbers; `zeros` stands for the rows outside. */
static inline void combine_rows(const double *rows, ptrdiff_t n_row, ptrdiff_t n, ptrdiff_t first, const double *w,
                                const double *zeros, double *restrict out)
{
    const double *r[N_TAP];

    /* A row of weight zero may hold NaN; it is left out like one that is not there. */
    for (int k = 0; k < N_TAP; k++)
        r[k] = (first + k < 0 || first + k >= n_row || w[k] == 0.0) ? zeros : rows + (first + k) * n;
    const double *r0 = r[0], *r1 = r[1], *r2 = r[2], *r3 = r[3], *r4 = r[4], *r5 = r[5], *r6 = r[6], *r7 = r[7];
    const double w0 = w[0], w1 = w[1], w2 = w[2], w3 = w[3], w4 = w[4], w5 = w[5], w6 = w[6], w7 = w[7];
    for (ptrdiff_t i = 0; i < n; i++)
        out[i] = w0 * r0[i] + w1 * r1[i] + w2 * r2[i] + w3 * r3[i] + w4 * r4[i] + w5 * r5[i] + w6 * r6[i] + w7 * r7[i];
}

/* Two passes, first along y and then along x.  What the first leaves is stored transposed, so that the innermost
 * loop of both runs along contiguous numbers. */
CLONES
void psf_resample(const double *restrict model, ptrdiff_t my, ptrdiff_t mx, double sampling, double dx, double dy,
                  ptrdiff_t size, double *restrict scratch, double *restrict stamp)
{
    double *restrict row = scratch;
    double *restrict column = row + mx;
    double *restrict sums = column + size;
    double *restrict zeros = sums + size; /* as long as a row and as a column */
    double *restrict turned = zeros + mx + size; /* [mx, size] */
    double weight[N_TAP], sum = 0.0, scale;
    const ptrdiff_t half = size / 2;

    memset(zeros, 0, (size_t)(mx + size) * sizeof(double));
    for (ptrdiff_t oy = 0; oy < size; oy++) {
        ptrdiff_t first =
            lanczos_taps(((double)(oy - half) - dy) / sampling + 0.5 * (double)(my - 1), my, weight);
        combine_rows(model, my, mx, first, weight, zeros, row);
        for (ptrdiff_t ix = 0; ix < mx; ix++)
            turned[ix * size + oy] = row[ix];
    }

    memset(sums, 0, (size_t)size * sizeof(double));
    for (ptrdiff_t ox = 0; ox < size; ox++) {
        ptrdiff_t first =
            lanczos_taps(((double)(ox - half) - dx) / sampling + 0.5 * (double)(mx - 1), mx, weight);
        combine_rows(turned, mx, size, first, weight, zeros, column);
        for (ptrdiff_t oy = 0; oy < size; oy++) {
            sums[oy] += column[oy];
            stamp[oy * size + ox] = column[oy];
        }
    }
    for (ptrdiff_t oy = 0; oy < size; oy++)
        sum += sums[oy];
    scale = 1.0 / sum;
    if (sum > 0.0 && isfinite(sum) && isfinite(scale)) {
        for (ptrdiff_t i = 0; i < size * size; i++)
            stamp[i] *= scale;
    } else {
        memset(stamp, 0, (size_t)(size * size) * sizeof(double));
    }
}
