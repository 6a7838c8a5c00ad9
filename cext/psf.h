/* Arithmetic of a pixel-basis PSF model: one model evaluated, one model resampled.
 *
 * Plain C on contiguous arrays, no allocation, no state.  Everything is summed in a fixed order, so a stamp
 * depends on its own model and position only.
 */
#ifndef SHAPEMPI_PSF_H
#define SHAPEMPI_PSF_H

#include <math.h>
#include <stddef.h>
#include <string.h>

/* Half width of the interpolation kernel [model pixel]; PSFEx resamples its own models with the same one. */
#define LANCZOS_A 4
#define LANCZOS_N_TAP (2 * LANCZOS_A)

/* Doubles of scratch that psf_resample needs for rows of mx pixels and stamps of `size` pixels. */
static inline ptrdiff_t psf_scratch_size(ptrdiff_t mx, ptrdiff_t size)
{
    return (mx + 2 * LANCZOS_N_TAP) + size * (LANCZOS_N_TAP + 1);
}

/* model[p] = sum over q, p of x^p y^q basis_k[p], terms in the order of PsfModel.coefficients. */
static void psf_evaluate(const double *restrict coefficients, ptrdiff_t n_pixel, int degree, double x, double y,
                         double *restrict model)
{
    const double *basis = coefficients;
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

/* First index and normalised weights of the Lanczos interpolation at a real index of a row of n pixels.
 *
 * With d_k = f - k the distance to tap k, the kernel sinc(d) sinc(d / a) is proportional to
 * (-1)^k sin(pi d / a) / d^2: the rest is the same for all taps and falls out of the normalisation.
 * A position that reaches no pixel, or is not a number, gets weights of zero.
 */
static void lanczos_taps(double position, ptrdiff_t n, ptrdiff_t *first, double *restrict weight)
{
    static const double pi_a = 3.14159265358979323846 / LANCZOS_A;
    double whole, fraction, sum = 0.0;

    *first = -LANCZOS_A + 1;
    memset(weight, 0, LANCZOS_N_TAP * sizeof(double));
    if (!(position > -LANCZOS_A && position < (double)(n - 1 + LANCZOS_A)))
        return;
    whole = floor(position);
    fraction = position - whole;
    *first += (ptrdiff_t)whole;
    if (fraction < 1e-14) { /* on a pixel: that pixel, exactly */
        weight[LANCZOS_A - 1] = 1.0;
        return;
    }
    for (int k = 0; k < LANCZOS_N_TAP; k++) {
        double d = fraction - (double)(k - LANCZOS_A + 1);
        double w = sin(pi_a * d) / (d * d);
        weight[k] = (k & 1) ? w : -w;
        sum += weight[k];
    }
    for (int k = 0; k < LANCZOS_N_TAP; k++)
        weight[k] /= sum;
}

/* Resample a model [my, mx] with pixels of `sampling` image pixels into a stamp [size, size] of unit sum.
 *
 * The model is zero outside its grid.  A stamp whose sum is not positive and finite becomes all zero.
 */
static void psf_resample(const double *restrict model, ptrdiff_t my, ptrdiff_t mx, double sampling, double dx,
                         double dy, ptrdiff_t size, double *restrict scratch, double *restrict stamp)
{
    double *row = scratch + LANCZOS_N_TAP; /* zeros on both sides stand for the outside of the model */
    double *weight_x = scratch + mx + 2 * LANCZOS_N_TAP;
    double *first_x = weight_x + size * LANCZOS_N_TAP;
    double weight_y[LANCZOS_N_TAP], sum = 0.0;
    ptrdiff_t first, half = size / 2;

    for (ptrdiff_t ox = 0; ox < size; ox++) {
        double position = ((double)(ox - half) - dx) / sampling + 0.5 * (double)(mx - 1);
        lanczos_taps(position, mx, &first, weight_x + ox * LANCZOS_N_TAP);
        first_x[ox] = (double)first;
    }
    memset(scratch, 0, (size_t)(mx + 2 * LANCZOS_N_TAP) * sizeof(double));
    for (ptrdiff_t oy = 0; oy < size; oy++) {
        double *out = stamp + oy * size;
        double position = ((double)(oy - half) - dy) / sampling + 0.5 * (double)(my - 1);
        lanczos_taps(position, my, &first, weight_y);
        memset(row, 0, (size_t)mx * sizeof(double));
        for (int k = 0; k < LANCZOS_N_TAP; k++) {
            ptrdiff_t iy = first + k;
            if (iy < 0 || iy >= my || weight_y[k] == 0.0)
                continue;
            for (ptrdiff_t ix = 0; ix < mx; ix++)
                row[ix] += weight_y[k] * model[iy * mx + ix];
        }
        for (ptrdiff_t ox = 0; ox < size; ox++) {
            const double *pixel = row + (ptrdiff_t)first_x[ox];
            const double *w = weight_x + ox * LANCZOS_N_TAP;
            double value = 0.0;
            for (int k = 0; k < LANCZOS_N_TAP; k++)
                value += w[k] * pixel[k];
            out[ox] = value;
            sum += value;
        }
    }
    if (sum > 0.0 && isfinite(sum)) {
        for (ptrdiff_t i = 0; i < size * size; i++)
            stamp[i] /= sum;
    } else {
        memset(stamp, 0, (size_t)(size * size) * sizeof(double));
    }
}

#endif
