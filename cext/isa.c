#include "isa.h"

#include <string.h>

static const char *const label[ISA_COUNT] = {"portable", "avx2", "avx512"};

static int available(int isa)
{
    if (isa == 0)
        return 1;
#ifdef HAVE_X86_PATHS
    __builtin_cpu_init();
    if (isa == 1)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (isa == 2)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512vl");
#endif
    return 0;
}

int isa_find(const char *name)
{
    for (int isa = ISA_COUNT - 1; isa >= 0; isa--)
        if ((strcmp(name, "auto") == 0 || strcmp(name, label[isa]) == 0) && available(isa))
            return isa;
    return -1;
}

const char *isa_label(int isa)
{
    return isa >= 0 && isa < ISA_COUNT ? label[isa] : 0;
}
