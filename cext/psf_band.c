#include "psf_band.h"

#include "isa.h"

/* The smallest size of the form 2^m or 3 2^m that is not below n. */
static ptrdiff_t fft_size(ptrdiff_t n)
{
    ptrdiff_t two = 2, three = 6;

    while (two < n)
        two *= 2;
    while (three < n)
        three *= 2;
    return two < three ? two : three;
}

ptrdiff_t psf_band_period(ptrdiff_t n)
{
    return fft_size(4 * n) / 2;
}

#define FUNCTIONS(isa) \
    {psf_band_tables_size_##isa, psf_band_scratch_size_##isa, psf_band_fill_tables_##isa, psf_band_find_##isa}

struct psf_band_functions psf_band_select(int isa)
{
    static const struct psf_band_functions table[ISA_COUNT] = {
        FUNCTIONS(portable),
#ifdef HAVE_X86_PATHS
        FUNCTIONS(avx2),
        FUNCTIONS(avx512),
#endif
    };
    return table[isa];
}
