/* Where the Fourier transform of a PSF ends, and how large a round Gaussian has to be to end before it. */
#ifndef SHAPEMPI_PSF_BAND_H
#define SHAPEMPI_PSF_BAND_H

#include <stddef.h>

/* The rules by which a target is found. */
enum psf_target { TARGET_NONE, TARGET_GAUSS, TARGET_AZGAUSS };

/* The largest wavenumber at which the PSF's transform is still above 1e-3 of its flux [1/arcsec], and sigma of the
 * target PSF before its dilation [arcsec], NaN if there is none.
 *
 * These reproduce GalSim's maxk and ngmix's targets `gauss` and `azgauss`, whose rules are beside the functions. */
struct psf_band {
    double max_k, sigma;
};

/* The period [pixel] of the lattice on which the transform of a stamp of side n is made: half of GalSim's padding. */
ptrdiff_t psf_band_period(ptrdiff_t n);

typedef size_t (*psf_band_size)(ptrdiff_t n);
typedef void (*psf_band_tables)(ptrdiff_t n, void *tables);
/* psf: n x n, finite, of positive sum.  jacobian: dudx, dudy, dvdx, dvdy, not singular. */
typedef void (*psf_band_find)(const double *psf, const double *jacobian, ptrdiff_t n, enum psf_target target,
                              const void *tables, void *scratch, struct psf_band *band);

struct psf_band_functions {
    psf_band_size tables_size, scratch_size;
    psf_band_tables fill_tables;
    psf_band_find find;
};

/* The functions of an instruction set (isa_find's number). */
struct psf_band_functions psf_band_select(int isa);

#define PSF_BAND_DECLARE(isa)                                                                               \
    size_t psf_band_tables_size_##isa(ptrdiff_t n);                                                         \
    size_t psf_band_scratch_size_##isa(ptrdiff_t n);                                                        \
    void psf_band_fill_tables_##isa(ptrdiff_t n, void *tables);                                             \
    void psf_band_find_##isa(const double *psf, const double *jacobian, ptrdiff_t n, enum psf_target target, \
                             const void *tables, void *scratch, struct psf_band *band);

PSF_BAND_DECLARE(portable)
PSF_BAND_DECLARE(avx2)
PSF_BAND_DECLARE(avx512)

#endif
