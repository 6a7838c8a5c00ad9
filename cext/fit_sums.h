/* Sums over the pixels of one epoch from which a fit of Gaussians makes its normal equations. */
#ifndef SHAPEMPI_FIT_SUMS_H
#define SHAPEMPI_FIT_SUMS_H

#include <stddef.h>
#include <stdint.h>

/* Columns in a block.  Pixels are packed as [block][y][column], so that the columns of a block are one vector (or
 * several) and the rows of a block follow each other; blocks are filled up with pixels of weight 0. */
#define FIT_COLUMNS 8

#define FIT_MAX_COMPONENTS 16

/* What a galaxy is made of: Gaussians of one centre and one shape, with these fractions of flux and of T. */
typedef struct {
    int n;
    double flux[FIT_MAX_COMPONENTS], size[FIT_MAX_COMPONENTS];
} fit_model;

typedef struct {
    ptrdiff_t ny, nx;
    double dudx, dudy, dvdx, dvdy; /* [arcsec/pixel] */
    double u, v;                   /* origin of the fit: offset from the stamp's centre [arcsec] */
    double variance;               /* of the round Gaussian PSF [arcsec^2] */
    const double *weight, *signal; /* packed: w, and w times the image */
    double *scratch;               /* fit_powers_size numbers */
} fit_epoch;

/* Let m be the model of unit flux of one component that is convolved, D_v and D_u derivatives with respect to its
 * centre, and the sums run over the components with their fractions p of flux and f of T.  By the heat equation the
 * derivatives with respect to second moments are those of twice the order with respect to the centre.  So
 *     basis:      sum p m,  sum p D_v m,  sum p D_u m,
 *                 sum p f (D_uu - D_vv) m,  sum p f 2 D_uv m,  sum p f (D_uu + D_vv) m
 *     curvature:  sum p (D_vv, D_vu, D_uu) m,  sum p f (D_vvv, D_vvu, D_vuu, D_uuu) m,
 *                 sum p f^2 (D_vvvv, D_vvvu, D_vvuu, D_vuuu, D_uuuu) m
 * make all first and second derivatives of the model, with factors that are the same for all epochs. */
enum { FIT_BASIS = 6, FIT_CURVATURE = 12 };

typedef struct {
    double products[FIT_BASIS][FIT_BASIS];                          /* sum of w b_i b_j; add: i >= j only */
    double data[FIT_BASIS];                                         /* sum of w d b_i */
    double model_curvature[FIT_CURVATURE], data_curvature[FIT_CURVATURE]; /* sums of w b_0 c_i and of w d c_i */
} fit_sums;

/* Numbers in the packed pixels of a stamp, and of scratch memory. */
static inline ptrdiff_t fit_packed_size(ptrdiff_t ny, ptrdiff_t nx)
{
    return (nx + FIT_COLUMNS - 1) / FIT_COLUMNS * FIT_COLUMNS * ny;
}

static inline ptrdiff_t fit_powers_size(ptrdiff_t ny)
{
    return 4 * (ny + FIT_COLUMNS);
}

/* The functions below exist for each instruction set, see isa.h. */
typedef struct {
    /* Pack weights, 0 where they are not positive; the number of those that are. */
    ptrdiff_t (*pack_weight)(const double *weight, ptrdiff_t ny, ptrdiff_t nx, double *packed);

    /* Pack weight times image, 0 where the weight is not positive; the sum of weight times image squared. */
    double (*pack_signal)(const double *weight, const double *image, ptrdiff_t ny, ptrdiff_t nx, double *packed);

    /* Add the sums of one epoch at v, u, g1, g2, T. */
    void (*add)(const fit_epoch *epoch, const fit_model *model, const double *parameters, fit_sums *sums);
} fit_code;

extern const fit_code fit_code_portable, fit_code_avx2, fit_code_avx512;

#endif
