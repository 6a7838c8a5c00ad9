#include "psf.h"

#include <math.h>
#include <string.h>

#include "clones.h"
#include "psf_taps.h"

/* Models that are summed at a time: their sums stay in registers. */
#define MODELS 4
/* Pixels of the basis images that stay in the nearest cache while all models of a batch go over them. */
#define PANEL 128

void psf_terms(int degree, double x, double y, double *terms)
{
    double y_power = 1.0;

    if (!isfinite(x) || !isfinite(y))
        x = y_power = NAN;
    for (int q = 0; q <= degree; q++) {
        double term = y_power;
        for (int p = 0; p <= degree - q; p++) {
            *terms++ = term;
            term *= x;
        }
        y_power *= y;
    }
}

/* Neighbours anywhere in memory.  GCC takes a type wider than the registers through memory if they are narrower than
 * that by half: this one is right for 16, 32 and 64 bytes. */
typedef double four __attribute__((vector_size(4 * sizeof(double)), aligned(sizeof(double)), may_alias));

/* Four pixels of n_model models; the sum over k goes up from 0, for any number of models. */
static inline __attribute__((always_inline)) void sum_block(const double *basis, ptrdiff_t n_coef, ptrdiff_t n_pixel,
                                                            const double *terms, int n_model, double *models)
{
    four sum[MODELS] = {{0.0}};

    for (ptrdiff_t k = 0; k < n_coef; k++)
        for (int m = 0; m < n_model; m++)
            sum[m] += terms[m * n_coef + k] * *(const four *)(basis + k * n_pixel);
    for (int m = 0; m < n_model; m++)
        *(four *)(models + m * n_pixel) = sum[m];
}

static inline __attribute__((always_inline)) void sum_panel(const double *basis, ptrdiff_t n_coef, ptrdiff_t n_pixel,
                                                            ptrdiff_t width, const double *terms, int n_model,
                                                            double *models)
{
    ptrdiff_t i = 0;

    for (; i + 4 <= width; i += 4)
        sum_block(basis + i, n_coef, n_pixel, terms, n_model, models + i);
    for (; i < width; i++) {
        for (int m = 0; m < n_model; m++) {
            double sum = 0.0;
            for (ptrdiff_t k = 0; k < n_coef; k++)
                sum += terms[m * n_coef + k] * basis[k * n_pixel + i];
            models[m * n_pixel + i] = sum;
        }
    }
}

CLONES
void psf_evaluate(const double *restrict coefficients, ptrdiff_t n_coef, ptrdiff_t n_pixel,
                  const double *restrict terms, ptrdiff_t n, double *restrict models)
{
    for (ptrdiff_t begin = 0; begin < n_pixel; begin += PANEL) {
        const double *basis = coefficients + begin;
        ptrdiff_t width = n_pixel - begin < PANEL ? n_pixel - begin : PANEL, i = 0;
        for (; i + MODELS <= n; i += MODELS)
            sum_panel(basis, n_coef, n_pixel, width, terms + i * n_coef, MODELS, models + i * n_pixel + begin);
        for (; i < n; i++)
            sum_panel(basis, n_coef, n_pixel, width, terms + i * n_coef, 1, models + i * n_pixel + begin);
    }
}

ptrdiff_t psf_scratch_size(ptrdiff_t mx, ptrdiff_t size)
{
    ptrdiff_t row = size + PSF_TAPS_ROOM; /* longer than a row of the model where that is short */

    return (row > mx ? row : mx) + 2 * size + mx * size;
}

/* out[i] = sum over k of weight[k] rows[k stride + i], for i < n. */
static inline __attribute__((always_inline)) void combine(const double *rows, ptrdiff_t stride, const double *weight,
                                                          ptrdiff_t n_tap, ptrdiff_t n, double *restrict out)
{
    if (n < 4) {
        for (ptrdiff_t i = 0; i < n; i++) {
            double sum = 0.0;
            for (ptrdiff_t k = 0; k < n_tap; k++)
                sum += weight[k] * rows[k * stride + i];
            out[i] = sum;
        }
        return;
    }
    for (ptrdiff_t i = 0; i < n; i += 4) {
        ptrdiff_t at = i < n - 4 ? i : n - 4; /* the last block does some pixels once more */
        four sum = {0.0};
        for (ptrdiff_t k = 0; k < n_tap; k++)
            sum += weight[k] * *(const four *)(rows + k * stride + at);
        *(four *)(out + at) = sum;
    }
}

/* All pixels of a row have the same weights and neighbouring samples: both passes run along rows. */
static inline __attribute__((always_inline)) void resample_rows(const double *model, ptrdiff_t mx,
                                                                const struct psf_axis *along_x,
                                                                const struct psf_axis *along_y, ptrdiff_t size,
                                                                double *scratch, double *stamp)
{
    const struct psf_taps *taps = &along_x->shared;
    const ptrdiff_t length = size + taps->n - 1;
    double *row = scratch; /* what the model has at taps->first, and zeros outside of it */
    struct psf_taps of_row;
    ptrdiff_t begin = taps->first < 0 ? -taps->first : 0, end = mx - taps->first;

    if (begin > length)
        begin = length;
    if (end > length)
        end = length;
    memset(row, 0, (size_t)length * sizeof(double));
    for (ptrdiff_t oy = 0; oy < size; oy++) {
        psf_axis_taps(along_y, oy, &of_row);
        if (of_row.n == 0 || end <= begin) {
            memset(stamp + oy * size, 0, (size_t)size * sizeof(double));
            continue;
        }
        combine(model + of_row.first * mx + taps->first + begin, mx, of_row.weight, of_row.n, end - begin, row + begin);
        combine(row, 1, taps->weight, taps->n, size, stamp + oy * size);
    }
}

/* Two passes, first along y and then along x.  What the first leaves is stored transposed, so that the innermost
 * loop of both runs along contiguous numbers. */
static inline __attribute__((always_inline)) void resample_turned(const double *model, ptrdiff_t mx,
                                                                  const struct psf_axis *along_x,
                                                                  const struct psf_axis *along_y, ptrdiff_t size,
                                                                  double *scratch, double *stamp)
{
    double *row = scratch;
    double *column = row + mx;
    double *turned = column + size; /* [mx, size] */
    struct psf_taps taps;

    for (ptrdiff_t oy = 0; oy < size; oy++) {
        psf_axis_taps(along_y, oy, &taps);
        combine(model + taps.first * mx, mx, taps.weight, taps.n, mx, row);
        for (ptrdiff_t ix = 0; ix < mx; ix++)
            turned[ix * size + oy] = row[ix];
    }
    for (ptrdiff_t ox = 0; ox < size; ox++) {
        psf_axis_taps(along_x, ox, &taps);
        combine(turned + taps.first * size, size, taps.weight, taps.n, size, column);
        for (ptrdiff_t oy = 0; oy < size; oy++)
            stamp[oy * size + ox] = column[oy];
    }
}

CLONES
void psf_resample(const double *restrict model, ptrdiff_t my, ptrdiff_t mx, double sampling, double dx, double dy,
                  ptrdiff_t size, int interpolant, double *restrict scratch, double *restrict stamp)
{
    struct psf_axis along_x, along_y;
    double *sums = scratch, sum = 0.0, scale;

    if (!psf_axis_make(interpolant, mx, sampling, dx, size, &along_x) ||
        !psf_axis_make(interpolant, my, sampling, dy, size, &along_y)) {
        memset(stamp, 0, (size_t)(size * size) * sizeof(double));
        return;
    }
    if (along_x.whole_step == 1)
        resample_rows(model, mx, &along_x, &along_y, size, scratch, stamp);
    else
        resample_turned(model, mx, &along_x, &along_y, size, scratch, stamp);

    memset(sums, 0, (size_t)size * sizeof(double));
    for (ptrdiff_t oy = 0; oy < size; oy++)
        for (ptrdiff_t ox = 0; ox < size; ox++)
            sums[ox] += stamp[oy * size + ox];
    for (ptrdiff_t ox = 0; ox < size; ox++)
        sum += sums[ox];
    scale = 1.0 / sum;
    if (sum > 0.0 && isfinite(sum) && isfinite(scale)) {
        for (ptrdiff_t i = 0; i < size * size; i++)
            stamp[i] *= scale;
    } else {
        memset(stamp, 0, (size_t)(size * size) * sizeof(double));
    }
}
