#include "psffit.h"

#include <string.h>

#include "clones.h"
#include "psf_taps.h"

#define TAPS PSFFIT_TAPS

void psffit_taps(int kind, ptrdiff_t n_pixel, ptrdiff_t n_sample, double sampling, double offset, int32_t *first,
                 double *weight)
{
    struct psf_axis axis;
    struct psf_taps taps;

    memset(weight, 0, (size_t)(n_pixel * TAPS) * sizeof(double));
    memset(first, 0, (size_t)n_pixel * sizeof(int32_t));
    if (!psf_axis_make(kind, n_sample, sampling, offset, n_pixel, &axis))
        return;
    for (ptrdiff_t j = 0; j < n_pixel; j++) {
        psf_axis_taps(&axis, j, &taps);
        /* At the edges the window of taps is moved inside; what it gains there has no weight. */
        ptrdiff_t at = taps.first < n_sample - TAPS ? taps.first : n_sample - TAPS;
        if (at < 0)
            at = 0;
        first[j] = (int32_t)at;
        for (ptrdiff_t k = 0; k < taps.n; k++) {
            ptrdiff_t slot = taps.first + k - at;
            if (slot >= 0 && slot < TAPS)
                weight[j * TAPS + slot] = taps.weight[k];
        }
    }
}

ptrdiff_t psffit_scratch_size(ptrdiff_t n_y, ptrdiff_t n_x, ptrdiff_t m_y, ptrdiff_t m_x)
{
    (void)n_y;
    return m_x * m_y + 2 * n_x * m_y;
}

/* out[i] = sum over k of w[k] rows[k n + i] */
static inline __attribute__((always_inline)) void gather(const double *restrict r, const double *restrict w,
                                                         ptrdiff_t n, double *restrict out)
{
    const double w0 = w[0], w1 = w[1], w2 = w[2], w3 = w[3], w4 = w[4], w5 = w[5];
    const double w6 = w[6], w7 = w[7], w8 = w[8], w9 = w[9], w10 = w[10], w11 = w[11];

    for (ptrdiff_t i = 0; i < n; i++) {
        double low = w0 * r[i] + w1 * r[n + i] + w2 * r[2 * n + i] + w3 * r[3 * n + i] + w4 * r[4 * n + i] +
                     w5 * r[5 * n + i];
        double high = w6 * r[6 * n + i] + w7 * r[7 * n + i] + w8 * r[8 * n + i] + w9 * r[9 * n + i] +
                      w10 * r[10 * n + i] + w11 * r[11 * n + i];
        out[i] = low + high;
    }
}

/* rows[k n + i] += w[k] in[i] */
static inline __attribute__((always_inline)) void scatter(const double *restrict in, const double *restrict w,
                                                          ptrdiff_t n, double *restrict rows)
{
    for (ptrdiff_t k = 0; k < TAPS; k++) {
        const double wk = w[k];
        double *restrict row = rows + k * n;
        for (ptrdiff_t i = 0; i < n; i++)
            row[i] += wk * in[i];
    }
}

/* out [n_b, n_a] = in [n_a, n_b] turned, in tiles that fit the registers' and the cache's lines. */
static inline __attribute__((always_inline)) void turn(const double *restrict in, ptrdiff_t n_a, ptrdiff_t n_b,
                                                       double *restrict out)
{
    for (ptrdiff_t b0 = 0; b0 < n_b; b0 += 8) {
        ptrdiff_t b1 = b0 + 8 < n_b ? b0 + 8 : n_b;
        for (ptrdiff_t a = 0; a < n_a; a++)
            for (ptrdiff_t b = b0; b < b1; b++)
                out[b * n_a + a] = in[a * n_b + b];
    }
}

/* First along x, then along y, each with its innermost loop along contiguous numbers: the model comes turned. */
CLONES
void psffit_draw(const double *restrict basis, ptrdiff_t n_coef, const double *restrict terms,
                 const struct psffit_axis *y, const struct psffit_axis *x, double *restrict scratch,
                 double *restrict stamp)
{
    const ptrdiff_t m_y = y->n_sample, m_x = x->n_sample, n_y = y->n_pixel, n_x = x->n_pixel, n_model = m_x * m_y;
    double *restrict model = scratch;              /* [m_x, m_y] */
    double *restrict half = scratch + n_model;     /* [n_x, m_y] */
    double *restrict turned = half + n_x * m_y;    /* [m_y, n_x] */

    for (ptrdiff_t i = 0; i < n_model; i++)
        model[i] = terms[0] * basis[i];
    for (ptrdiff_t k = 1; k < n_coef; k++) {
        const double term = terms[k];
        const double *restrict image = basis + k * n_model;
        for (ptrdiff_t i = 0; i < n_model; i++)
            model[i] += term * image[i];
    }
    for (ptrdiff_t j = 0; j < n_x; j++)
        gather(model + x->first[j] * m_y, x->weight + j * TAPS, m_y, half + j * m_y);
    turn(half, n_x, m_y, turned);
    for (ptrdiff_t j = 0; j < n_y; j++)
        gather(turned + y->first[j] * n_x, y->weight + j * TAPS, n_x, stamp + j * n_x);
}

CLONES
void psffit_add(const double *restrict stamp, ptrdiff_t n_coef, const double *restrict terms,
                const struct psffit_axis *y, const struct psffit_axis *x, double *restrict scratch,
                double *restrict basis)
{
    const ptrdiff_t m_y = y->n_sample, m_x = x->n_sample, n_y = y->n_pixel, n_x = x->n_pixel, n_model = m_x * m_y;
    double *restrict model = scratch;
    double *restrict half = scratch + n_model;
    double *restrict turned = half + n_x * m_y;

    memset(turned, 0, (size_t)(m_y * n_x) * sizeof(double));
    for (ptrdiff_t j = 0; j < n_y; j++)
        scatter(stamp + j * n_x, y->weight + j * TAPS, n_x, turned + y->first[j] * n_x);
    turn(turned, m_y, n_x, half);
    memset(model, 0, (size_t)n_model * sizeof(double));
    for (ptrdiff_t j = 0; j < n_x; j++)
        scatter(half + j * m_y, x->weight + j * TAPS, m_y, model + x->first[j] * m_y);
    for (ptrdiff_t k = 0; k < n_coef; k++) {
        const double term = terms[k];
        double *restrict image = basis + k * n_model;
        for (ptrdiff_t i = 0; i < n_model; i++)
            image[i] += term * model[i];
    }
}

CLONES
void psffit_multiply(const double *restrict factor, ptrdiff_t n, double *restrict stamp)
{
    for (ptrdiff_t i = 0; i < n; i++)
        stamp[i] *= factor[i];
}
