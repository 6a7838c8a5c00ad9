/* Vectors as wide as the instruction set that the file is compiled for, by the compilers' vector extension. */
#ifndef SHAPEMPI_SIMD_H
#define SHAPEMPI_SIMD_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#define SIMD_BYTES 64
#elif defined(__AVX2__)
#define SIMD_BYTES 32
#else
#define SIMD_BYTES 16
#endif

/* Numbers in one vector. */
#define SIMD_DOUBLES (SIMD_BYTES / 8)
#define SIMD_FLOATS (SIMD_BYTES / 4)

typedef double vdouble __attribute__((vector_size(SIMD_BYTES)));
typedef float vfloat __attribute__((vector_size(SIMD_BYTES)));
typedef int64_t vint64 __attribute__((vector_size(SIMD_BYTES)));

/* Numbers anywhere in memory, aligned or not. */
static inline vdouble vdouble_load(const double *p)
{
    vdouble v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void vdouble_store(double *p, vdouble v)
{
    memcpy(p, &v, sizeof v);
}

/* One number in all places. */
static inline vdouble vdouble_all(double x)
{
    return x - (vdouble){0};
}

/* 0, 1, 2, ... */
static inline vdouble vdouble_index(void)
{
    vdouble v;
    for (int i = 0; i < SIMD_DOUBLES; i++)
        v[i] = i;
    return v;
}

/* The sum of all places: halves are added to halves, so that the order depends on the width alone. */
static inline double vdouble_sum(vdouble v)
{
    for (int n = SIMD_DOUBLES / 2; n > 0; n /= 2)
        for (int i = 0; i < n; i++)
            v[i] += v[i + n];
    return v[0];
}

/* The sum of n numbers, in an order that depends on the width alone. */
static inline double vdouble_total(const double *p, ptrdiff_t n)
{
    vdouble a = {0}, b = {0};
    double rest = 0.0;
    ptrdiff_t i = 0;

    for (; i + 2 * SIMD_DOUBLES <= n; i += 2 * SIMD_DOUBLES) {
        a += vdouble_load(p + i);
        b += vdouble_load(p + i + SIMD_DOUBLES);
    }
    for (; i < n; i++)
        rest += p[i];
    return vdouble_sum(a + b) + rest;
}

/* exp(x) for -700 <= x <= 700 with a relative error of 2e-16; what is outside is taken as the limit. */
static inline vdouble vdouble_exp(vdouble x)
{
    const vdouble magic = vdouble_all(6755399441055744.0); /* 1.5 2^52: adding it rounds to an integer */
    const vdouble low = vdouble_all(-700.0), high = vdouble_all(700.0);
    vint64 below = x < low, above = x > high;
    vdouble shifted, n, r, y;

    x = (vdouble)((below & (vint64)low) | (~below & (vint64)x));
    x = (vdouble)((above & (vint64)high) | (~above & (vint64)x));
    shifted = x * 1.4426950408889634074 + magic;
    n = shifted - magic;
    /* ln 2 in two parts, the first of which times n is exact */
    r = x - n * 6.93147180369123816490e-01;
    r = r - n * 1.90821492927058770002e-10;
    /* Taylor: |r| <= ln(2)/2, r^14/14! = 4e-18 */
    y = vdouble_all(1.0 / 6227020800.0);
    y = y * r + 1.0 / 479001600.0;
    y = y * r + 1.0 / 39916800.0;
    y = y * r + 1.0 / 3628800.0;
    y = y * r + 1.0 / 362880.0;
    y = y * r + 1.0 / 40320.0;
    y = y * r + 1.0 / 5040.0;
    y = y * r + 1.0 / 720.0;
    y = y * r + 1.0 / 120.0;
    y = y * r + 1.0 / 24.0;
    y = y * r + 1.0 / 6.0;
    y = y * r + 0.5;
    y = y * r + 1.0;
    y = y * r + 1.0;
    /* the low bits of `shifted` are n: put it into the exponent */
    return (vdouble)((vint64)y + ((vint64)shifted << 52));
}

#endif
