#include "metacal.h"

#include "isa.h"

#define FUNCTIONS(real, isa)                                                                                 \
    {metacal_tables_size_##real##_##isa, metacal_scratch_size_##real##_##isa, metacal_fill_tables_##real##_##isa, \
     metacal_images_##real##_##isa}

struct metacal_functions metacal_select(int isa, int single)
{
    static const struct metacal_functions table[ISA_COUNT][2] = {
        {FUNCTIONS(f64, portable), FUNCTIONS(f32, portable)},
#ifdef HAVE_X86_PATHS
        {FUNCTIONS(f64, avx2), FUNCTIONS(f32, avx2)},
        {FUNCTIONS(f64, avx512), FUNCTIONS(f32, avx512)},
#endif
    };
    return table[isa][single];
}
