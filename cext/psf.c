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
    return mx + (mx + 2 * N_TAP) * size + 2 * size;
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

/* Two passes, first along y and then along x.  What the first leaves is stored transposed, so that the innermost
 * loop of both runs along contiguous numbers. */
CLONES
void psf_resample(const double *restrict model, ptrdiff_t my, ptrdiff_t mx, double sampling, double dx, double dy,
                  ptrdiff_t size, double *restrict scratch, double *restrict stamp)
{
    double *restrict row = scratch;
    double *restrict turned = row + mx; /* [N_TAP + mx + N_TAP, size]; zeros at both ends: outside the model */
    double *restrict column = turned + (mx + 2 * N_TAP) * size;
    double *restrict sums = column + size;
    double weight[N_TAP], sum = 0.0, scale;
    const ptrdiff_t half = size / 2;

    memset(turned, 0, (size_t)(N_TAP * size) * sizeof(double));
    memset(turned + (N_TAP + mx) * size, 0, (size_t)(N_TAP * size) * sizeof(double));
    for (ptrdiff_t oy = 0; oy < size; oy++) {
        ptrdiff_t first =
            lanczos_taps(((double)(oy - half) - dy) / sampling + 0.5 * (double)(my - 1), my, weight);
        memset(row, 0, (size_t)mx * sizeof(double));
        for (int k = 0; k < N_TAP; k++) {
            const double w = weight[k];
            if (first + k < 0 || first + k >= my || w == 0.0)
                continue;
            for (ptrdiff_t ix = 0; ix < mx; ix++)
                row[ix] += w * model[(first + k) * mx + ix];
        }
        for (ptrdiff_t ix = 0; ix < mx; ix++)
            turned[(N_TAP + ix) * size + oy] = row[ix];
    }

    memset(sums, 0, (size_t)size * sizeof(double));
    for (ptrdiff_t ox = 0; ox < size; ox++) {
        ptrdiff_t first =
            lanczos_taps(((double)(ox - half) - dx) / sampling + 0.5 * (double)(mx - 1), mx, weight);
        memset(column, 0, (size_t)size * sizeof(double));
        for (int k = 0; k < N_TAP; k++) {
            const double w = weight[k];
            const double *restrict from = turned + (N_TAP + first + k) * size;
            if (w == 0.0)
                continue;
            for (ptrdiff_t oy = 0; oy < size; oy++)
                column[oy] += w * from[oy];
        }
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
