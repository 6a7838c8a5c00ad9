#include "peak.h"

typedef long peak_function(long n_round, double *result);

static peak_function *const f64[ISA_COUNT] = ISA_TABLE(peak_f64), *const f32[ISA_COUNT] = ISA_TABLE(peak_f32);

long peak_run(int isa, int single, long n_round, double *result)
{
    return (single ? f32 : f64)[isa](n_round, result);
}
