#include "threefry.h"

#include <math.h>
#include <string.h>

#include "clones.h"
#include "exactmath.h"

/* Blocks that are worked on together: whole vectors on every instruction set. */
#define LANES 32

/* Two words of a block in one round. */
static inline void mix(uint64_t *a, uint64_t *b, int bits)
{
    *a += *b;
    *b = ((*b << bits) | (*b >> (64 - bits))) ^ *a;
}

/* Four rounds with rotations a, b of each, and the key's `turn`-th injection after them. */
static inline void four_rounds(uint64_t x[4], const uint64_t ks[5], int turn, int a0, int b0, int a1, int b1, int a2,
                               int b2, int a3, int b3)
{
    mix(&x[0], &x[1], a0);
    mix(&x[2], &x[3], b0);
    mix(&x[0], &x[3], a1);
    mix(&x[2], &x[1], b1);
    mix(&x[0], &x[1], a2);
    mix(&x[2], &x[3], b2);
    mix(&x[0], &x[3], a3);
    mix(&x[2], &x[1], b3);
    x[0] += ks[turn % 5];
    x[1] += ks[(turn + 1) % 5];
    x[2] += ks[(turn + 2) % 5];
    x[3] += ks[(turn + 3) % 5] + (uint64_t)turn;
}

/* LANES blocks whose counters differ in the first word. */
CLONES
static void lanes(const uint64_t key[4], const uint64_t first[4], uint64_t words[4][LANES])
{
    const uint64_t ks[5] = {key[0], key[1], key[2], key[3],
                            key[0] ^ key[1] ^ key[2] ^ key[3] ^ 0x1BD11BDAA9FC1A22u};
    const uint64_t start[4] = {first[0] + ks[0], first[1] + ks[1], first[2] + ks[2], first[3] + ks[3]};

    for (int i = 0; i < LANES; i++) {
        uint64_t x[4] = {start[0] + (uint64_t)i, start[1], start[2], start[3]};
        four_rounds(x, ks, 1, 14, 16, 52, 57, 23, 40, 5, 37);
        four_rounds(x, ks, 2, 25, 33, 46, 12, 58, 22, 32, 32);
        four_rounds(x, ks, 3, 14, 16, 52, 57, 23, 40, 5, 37);
        four_rounds(x, ks, 4, 25, 33, 46, 12, 58, 22, 32, 32);
        four_rounds(x, ks, 5, 14, 16, 52, 57, 23, 40, 5, 37);
        words[0][i] = x[0];
        words[1][i] = x[1];
        words[2][i] = x[2];
        words[3][i] = x[3];
    }
}

/* Two random words become two normal numbers.
 *
 * 52 bits of the first make a number u in (0, 1], and sqrt(-2 ln u) the radius.  Two bits of the second choose the
 * quarter of the circle and the other 52 the angle in it, from -pi/4 to pi/4. */
CLONES
static void box_muller(const uint64_t u[LANES], const uint64_t v[LANES], double x[LANES], double y[LANES])
{
    for (int i = 0; i < LANES; i++) {
        double radius = sqrt(-2.0 * exact_log(2.0 - double_of(0x3ff0000000000000u | (u[i] >> 12))));
        double angle = (double_of(0x3ff0000000000000u | ((v[i] << 2) >> 12)) - 1.5) * 1.57079632679489661923;
        uint64_t quarter = v[i] >> 62, odd = (uint64_t)0 - (quarter & 1);
        uint64_t c = bits_of(exact_cos(angle)), s = bits_of(exact_sin(angle));
        /* times i^quarter, in the complex plane */
        x[i] = radius * double_of(((c & ~odd) | (s & odd)) ^ ((quarter ^ (quarter >> 1)) << 63));
        y[i] = radius * double_of(((s & ~odd) | (c & odd)) ^ ((quarter >> 1) << 63));
    }
}

void threefry_blocks(const uint64_t key[4], const uint64_t first[4], ptrdiff_t n, uint64_t *words)
{
    uint64_t counter[4], made[4][LANES];

    memcpy(counter, first, sizeof counter);
    for (ptrdiff_t b = 0; b < n; b += LANES) {
        size_t count = (size_t)(n - b < LANES ? n - b : LANES);
        counter[0] = first[0] + (uint64_t)b;
        lanes(key, counter, made);
        for (int j = 0; j < 4; j++)
            memcpy(words + j * n + b, made[j], count * sizeof(uint64_t));
    }
}

void threefry_normal(const uint64_t key[4], uint64_t place, uint32_t exposure, uint32_t ccd, uint32_t field,
                     ptrdiff_t n, double *out)
{
    const ptrdiff_t n_block = (n + 3) / 4;
    uint64_t counter[4] = {0, place, exposure, ccd}, words[4][LANES];
    double z[4][LANES];

    for (ptrdiff_t b = 0; b < n_block; b += LANES) {
        counter[0] = (uint64_t)b + ((uint64_t)field << 32);
        lanes(key, counter, words);
        box_muller(words[0], words[1], z[0], z[1]);
        box_muller(words[2], words[3], z[2], z[3]);
        for (int j = 0; j < 4; j++) {
            ptrdiff_t at = j * n_block + b, count = n_block - b < LANES ? n_block - b : LANES;
            if (at + count > n)
                count = n - at;
            if (count > 0)
                memcpy(out + at, z[j], (size_t)count * sizeof(double));
        }
    }
}
