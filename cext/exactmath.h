/* Elementary functions from additions, multiplications and divisions alone: the same bits on every CPU, where a
 * library's functions differ in the last one.  Loops over them become vector code.  No product may be fused with an
 * addition, see meson.build. */
#ifndef SHAPEMPI_EXACTMATH_H
#define SHAPEMPI_EXACTMATH_H

#include <stdint.h>
#include <string.h>

static inline uint64_t bits_of(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline double double_of(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* exp(x) to 3e-16; x below -700 or not a number gives 0, x above 700 exp(700). */
static inline double exact_exp(double x)
{
    const double magic = 6755399441055744.0; /* 1.5 2^52: adding it rounds to an integer */
    double inside = x > -700.0 ? (x < 700.0 ? x : 700.0) : -700.0;
    double shifted = inside * 1.4426950408889634074 + magic;
    double n = shifted - magic;
    /* ln 2 in two parts, the first of which times n is exact */
    double r = (inside - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10;
    /* Taylor: |r| <= ln(2)/2, r^14/14! = 4e-18 */
    double y = 1.0 / 6227020800.0;
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
    y = double_of(bits_of(y) + (bits_of(shifted) << 52));
    return x > -700.0 ? y : 0.0;
}

/* log(x) to 4e-16 for normal positive x. */
static inline double exact_log(double x)
{
    /* x = m 2^e with sqrt(1/2) <= m < sqrt(2); e + 1024 is kept, which is positive */
    uint64_t bits = bits_of(x);
    uint64_t e = (bits - 0x3fe6a09e667f3bcdu + ((uint64_t)1024 << 52)) >> 52;
    double m = double_of(bits - ((e - 1024) << 52));
    double exponent = double_of(0x4330000000000000u | e) - (4503599627370496.0 + 1024.0);
    /* log m = 2 artanh(s), |s| <= 0.1716; s^22/23 = 6e-19 */
    double s = (m - 1.0) / (m + 1.0);
    double q = s * s;
    double y = 2.0 / 21.0;
    y = y * q + 2.0 / 19.0;
    y = y * q + 2.0 / 17.0;
    y = y * q + 2.0 / 15.0;
    y = y * q + 2.0 / 13.0;
    y = y * q + 2.0 / 11.0;
    y = y * q + 2.0 / 9.0;
    y = y * q + 2.0 / 7.0;
    y = y * q + 2.0 / 5.0;
    y = y * q + 2.0 / 3.0;
    y = y * q * s + exponent * 1.90821492927058770002e-10;
    return exponent * 6.93147180369123816490e-01 + (2.0 * s + y);
}

/* sin(x) and cos(x) to 2e-16 for |x| <= pi/4. */
static inline double exact_sin(double x)
{
    double q = x * x;
    double y = -1.0 / 1307674368000.0;
    y = y * q + 1.0 / 6227020800.0;
    y = y * q - 1.0 / 39916800.0;
    y = y * q + 1.0 / 362880.0;
    y = y * q - 1.0 / 5040.0;
    y = y * q + 1.0 / 120.0;
    y = y * q - 1.0 / 6.0;
    return x + x * (q * y);
}

static inline double exact_cos(double x)
{
    double q = x * x;
    double y = 1.0 / 20922789888000.0;
    y = y * q - 1.0 / 87178291200.0;
    y = y * q + 1.0 / 479001600.0;
    y = y * q - 1.0 / 3628800.0;
    y = y * q + 1.0 / 40320.0;
    y = y * q - 1.0 / 720.0;
    y = y * q + 1.0 / 24.0;
    return (1.0 - 0.5 * q) + q * (q * y);
}

#endif
