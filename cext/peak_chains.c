#include "peak.h"
#include "simd.h"

/* Chains of x = x a + b, which depend on nothing but themselves and stay between 0 and 1. */
#define CHAINS(vector, places)                                     \
    const vector zero = {0}, a = 0.75f - zero, b = 0.125f - zero;   \
    vector x[PEAK_CHAINS], sum = zero;                             \
    for (int i = 0; i < PEAK_CHAINS; i++)                          \
        x[i] = zero + 1.0f / (float)(i + 1);                       \
    for (long round = 0; round < n_round; round++)                 \
        for (int i = 0; i < PEAK_CHAINS; i++)                      \
            x[i] = x[i] * a + b;                                   \
    for (int i = 0; i < PEAK_CHAINS; i++)                          \
        sum += x[i];                                               \
    *result = sum[0];                                              \
    return n_round * PEAK_CHAINS * (places);

long ISA_NAME(peak_f64)(long n_round, double *result)
{
    CHAINS(vdouble, SIMD_DOUBLES)
}

long ISA_NAME(peak_f32)(long n_round, double *result)
{
    CHAINS(vfloat, SIMD_FLOATS)
}
