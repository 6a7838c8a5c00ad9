/* Metacalibration images of one stamp, by Fourier transforms on sheared lattices.
 *
 * With I and P the transforms of stamp and PSF, S the shear and G the target PSF, an image is the inverse transform
 * of G(k) I(S k)/P(S k) at the pixel centres (Huff & Mandelbaum 2017; Sheldon & Huff 2017), flux kept.
 * Wavevectors of pixels are q = J^T k; with M = J^T S J^-T and M^-T = (a b; c d), det 1, the lattice
 *
 *     M q = (alpha - (c/a) beta, beta)    has    q . (x, y) = alpha (a x + b y) + beta y/a
 *
 * so that both transforms are products of small matrices, and nothing is interpolated.
 */
#ifndef SHAPEMPI_METACAL_H
#define SHAPEMPI_METACAL_H

#include <stddef.h>

/* Target and deconvolution as GalSim has them (its kvalue_accuracy): the target's transform is zero below, the PSF's
 * not taken smaller. */
#define METACAL_ACCURACY 1e-5

/* The longest side of a stamp. */
#define METACAL_LARGEST 401

/* Bytes of scratch for tables (one per call) and for one thread. */
typedef size_t (*metacal_size)(ptrdiff_t n, ptrdiff_t period);
typedef size_t (*metacal_space)(ptrdiff_t n, ptrdiff_t period, int with_dilated);
/* Fill the tables; `tables` is aligned to 64 bytes like all scratch. */
typedef void (*metacal_tables)(ptrdiff_t n, ptrdiff_t period, void *tables);
/* Images of n_type shears of one epoch.
 *
 * stamp, psf, noise: n x n, finite; noise may be NULL.  The PSF's sum is positive.  jacobian: dudx, dudy, dvdx, dvdy.
 * sigma: of the target Gaussian [arcsec].  dilation: if positive the target is the PSF itself, larger by this factor,
 * and sigma is not used.  max_k: beyond it [1/arcsec] the inverse of the PSF is zero; finite.  shear: g1, g2 of each
 * type.  out: n_type images of the precision of the function. */
typedef void (*metacal_images)(const double *stamp, const double *psf, const double *noise, const double *jacobian,
                               double sigma, double dilation, double max_k, const double *shear, ptrdiff_t n_type,
                               ptrdiff_t n, ptrdiff_t period, const void *tables, void *scratch, void *out);

struct metacal_functions {
    metacal_size tables_size;
    metacal_space scratch_size;
    metacal_tables fill_tables;
    metacal_images images;
};

/* The functions of an instruction set (isa_find's number), in single precision or in double. */
struct metacal_functions metacal_select(int isa, int single);

/* Whether all pixels are finite, and so small that no sum overflows. */
int stamp_finite(const double *stamp, ptrdiff_t n);

/* Whether a PSF is finite and has a positive sum, and its Jacobian an area: one that squeezes a direction by 1e4 is no
 * sky. */
int stamp_usable(const double *psf, const double *jacobian, ptrdiff_t n);

#define METACAL_DECLARE(isa, real)                                                                         \
    size_t metacal_tables_size_##real##_##isa(ptrdiff_t n, ptrdiff_t period);                              \
    size_t metacal_scratch_size_##real##_##isa(ptrdiff_t n, ptrdiff_t period, int with_dilated);           \
    void metacal_fill_tables_##real##_##isa(ptrdiff_t n, ptrdiff_t period, void *tables);                  \
    void metacal_images_##real##_##isa(const double *stamp, const double *psf, const double *noise,        \
                                       const double *jacobian, double sigma, double dilation, double max_k, \
                                       const double *shear, ptrdiff_t n_type, ptrdiff_t n,                 \
                                       ptrdiff_t period, const void *tables, void *scratch, void *out);

METACAL_DECLARE(portable, f64)
METACAL_DECLARE(avx2, f64)
METACAL_DECLARE(avx512, f64)
METACAL_DECLARE(portable, f32)
METACAL_DECLARE(avx2, f32)
METACAL_DECLARE(avx512, f32)

#endif
