/* The target PSF `dilate`: the PSF itself, a little larger, with the pixel as it is.
 *
 * With pix the transform of the pixel, the target's transform is P(f q) pix(q)/pix(f q) at the wavevectors
 * q = (a alpha, b alpha + beta/a) of the output's lattice (metacal.h).  They are not those at which the PSF is
 * deconvolved, so this is a transform of its own, x first. */
#ifndef SHAPEMPI_DILATED_TARGET_H
#define SHAPEMPI_DILATED_TARGET_H

#include <math.h>
#include <stddef.h>

/* Doubles of scratch for stamps of side n. */
#define DILATED_SCRATCH(n) (6 * (n))

static inline double sinc_half(double q)
{
    return fabs(q) < 1e-4 ? 1.0 - q * q / 24.0 : sin(0.5 * q) / (0.5 * q);
}

static inline double pixel_ratio(double qx, double qy, double factor)
{
    return sinc_half(qx) * sinc_half(qy) / (sinc_half(factor * qx) * sinc_half(factor * qy));
}

/* out[beta][+alpha, -alpha][real, imaginary][alpha_padded], for n_beta and n_alpha frequencies of step dq. */
static inline void dilated_target(const double *psf, ptrdiff_t n, double factor, double a, double b, double dq,
                                  ptrdiff_t n_beta, ptrdiff_t n_alpha, ptrdiff_t alpha_padded, double *scratch,
                                  REAL *out)
{
    const ptrdiff_t c = n / 2;
    double *wave_re = scratch, *wave_im = wave_re + n, *line_re = wave_im + n, *line_im = line_re + n;
    double *phase_re = line_im + n, *phase_im = phase_re + n;

    for (ptrdiff_t i = 0; i < n_alpha; i++) {
        const double qx = a * dq * (double)i;

        for (ptrdiff_t x = 0; x < n; x++) {
            wave_re[x] = cos(factor * qx * (double)(x - c));
            wave_im[x] = -sin(factor * qx * (double)(x - c));
        }
        for (ptrdiff_t y = 0; y < n; y++) {
            const double turn = -factor * b * dq * (double)i * (double)(y - c);
            const double turn_re = cos(turn), turn_im = sin(turn);
            double re = 0.0, im = 0.0;
            for (ptrdiff_t x = 0; x < n; x++) {
                re += psf[y * n + x] * wave_re[x];
                im += psf[y * n + x] * wave_im[x];
            }
            line_re[y] = re * turn_re - im * turn_im;
            line_im[y] = re * turn_im + im * turn_re;
        }
        for (ptrdiff_t j = 0; j < n_beta; j++) {
            const double step = dq * (double)j / a;
            double rc = 0.0, rs = 0.0, ic = 0.0, is = 0.0;
            REAL *to = out + 4 * j * alpha_padded + i;

            for (ptrdiff_t y = 0; y < n; y++) {
                phase_re[y] = cos(factor * step * (double)(y - c));
                phase_im[y] = sin(factor * step * (double)(y - c));
            }
            for (ptrdiff_t y = 0; y < n; y++) {
                rc += line_re[y] * phase_re[y];
                rs += line_re[y] * phase_im[y];
                ic += line_im[y] * phase_re[y];
                is += line_im[y] * phase_im[y];
            }
            /* at (alpha, beta), and the conjugate of what is at (alpha, -beta) */
            const double up = pixel_ratio(qx, b * dq * (double)i + step, factor);
            const double down = pixel_ratio(qx, b * dq * (double)i - step, factor);
            to[0] = (REAL)(up * (rc + is));
            to[alpha_padded] = (REAL)(up * (ic - rs));
            to[2 * alpha_padded] = (REAL)(down * (rc - is));
            to[3 * alpha_padded] = (REAL)(-down * (ic + rs));
        }
    }
}

#endif
