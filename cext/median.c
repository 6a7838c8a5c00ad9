#include "median.h"

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "clones.h"

/* Numbers of the sample in which the search starts, and the steps in it to both sides of the rank looked for: two
 * standard deviations of the rank. */
#define N_SAMPLE 31
#define SAMPLE_STEPS 6

/* The search ends with sorting when no more numbers than this are left. */
#define FEW 4

/* Numbers that are looked at together for being among the few; divides the block. */
#define GROUP 64

/* How many numbers are below p, and below q. */
CLONES
static void count_below(const float *restrict a, ptrdiff_t n, float p, float q, ptrdiff_t count[2])
{
    int32_t below_p = 0, below_q = 0;

    for (ptrdiff_t i = 0; i < n; i++) {
        below_p += a[i] < p;
        below_q += a[i] < q;
    }
    count[0] = below_p;
    count[1] = below_q;
}

/* The numbers from low to below high, of which there are fewer than a block, in any order; returns how many. */
CLONES
static ptrdiff_t gather(const float *restrict a, ptrdiff_t n, float low, float high, float *restrict out)
{
    ptrdiff_t found = 0;

    for (ptrdiff_t b = 0; b < n; b += GROUP) {
        int32_t inside = 0;
        for (int i = 0; i < GROUP; i++)
            inside += (a[b + i] >= low) & (a[b + i] < high);
        /* most groups have none */
        for (int i = 0; inside > 0 && i < GROUP; i++) {
            out[found] = a[b + i];
            found += (a[b + i] >= low) & (a[b + i] < high) & (found < MEDIAN_BLOCK - 1);
        }
    }
    return found;
}

/* How many numbers are not above x, and the smallest above it. */
CLONES
static ptrdiff_t neighbour_above(const float *restrict a, ptrdiff_t n, float x, float *next)
{
    float least[MEDIAN_BLOCK];
    int32_t count = 0;

    for (int i = 0; i < MEDIAN_BLOCK; i++)
        least[i] = INFINITY;
    for (ptrdiff_t b = 0; b < n; b += MEDIAN_BLOCK)
        for (int i = 0; i < MEDIAN_BLOCK; i++) {
            float v = a[b + i], above = v > x ? v : INFINITY;
            count += v <= x;
            least[i] = above < least[i] ? above : least[i];
        }
    for (int i = 1; i < MEDIAN_BLOCK; i++)
        if (least[i] < least[0])
            least[0] = least[i];
    *next = least[0];
    return count;
}

static void sort(float *a, ptrdiff_t n)
{
    for (ptrdiff_t i = 1; i < n; i++) {
        float v = a[i];
        ptrdiff_t j = i;
        for (; j > 0 && a[j - 1] > v; j--)
            a[j] = a[j - 1];
        a[j] = v;
    }
}

/* Integers in the order of the numbers, and back. */
static int32_t key_of(float x)
{
    int32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits < 0 ? (int32_t)(INT32_MIN - (int64_t)bits) : bits;
}

static float number_of(int32_t key)
{
    int32_t bits = key < 0 ? (int32_t)(INT32_MIN - (int64_t)key) : key;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Where the number of rank k is: at most k numbers are below low, more than k are below high. */
typedef struct {
    float low, high;
    ptrdiff_t below_low, below_high;
} bracket;

static void narrow(bracket *at, float pivot, ptrdiff_t below, ptrdiff_t k)
{
    if (below <= k && pivot > at->low) {
        at->low = pivot;
        at->below_low = below;
    } else if (below > k && pivot < at->high) {
        at->high = pivot;
        at->below_high = below;
    }
}

/* The number of rank k (from 0) among n, n_number of which are finite.
 *
 * Counting is cheaper than moving.  Two pivots at a time close in on the number, first from a sample, then by linear
 * interpolation of the counts; where that does not halve what is left, the interval of possible numbers is halved, so
 * that the search ends after a few dozen counts whatever the numbers are. */
static float number_of_rank(const float *a, ptrdiff_t n, ptrdiff_t n_number, ptrdiff_t k)
{
    bracket at = {-FLT_MAX, INFINITY, 0, n_number};
    float sample[N_SAMPLE], rest[MEDIAN_BLOCK], pivot[2];
    ptrdiff_t count[2], middle = k * N_SAMPLE / n;
    int halve = 0;

    for (int i = 0; i < N_SAMPLE; i++)
        sample[i] = a[i * n / N_SAMPLE];
    sort(sample, N_SAMPLE);
    pivot[0] = sample[middle < SAMPLE_STEPS ? 0 : middle - SAMPLE_STEPS];
    pivot[1] = sample[middle + SAMPLE_STEPS < N_SAMPLE ? middle + SAMPLE_STEPS : N_SAMPLE - 1];
    for (;;) {
        ptrdiff_t inside = at.below_high - at.below_low, left;
        count_below(a, n, pivot[0], pivot[1], count);
        narrow(&at, pivot[0], count[0], k);
        narrow(&at, pivot[1], count[1], k);
        left = at.below_high - at.below_low;
        if (left <= FEW) {
            sort(rest, gather(a, n, at.low, at.high, rest));
            return rest[k - at.below_low];
        }
        if (key_of(at.high) - (int64_t)key_of(at.low) <= 1)
            return at.low; /* all that is left is equal */
        halve = !halve && left > inside / 2;
        if (!halve && isfinite(at.high)) {
            double width = (double)at.high - (double)at.low;
            double share = ((double)(k - at.below_low) + 0.5) / (double)left, slack = 1.0 / sqrt((double)left);
            pivot[0] = (float)(at.low + width * (share - slack));
            pivot[1] = (float)(at.low + width * (share + slack));
        } else {
            int64_t low = key_of(at.low), high = key_of(at.high);
            pivot[0] = pivot[1] = number_of((int32_t)(low + (high - low) / 2));
        }
    }
}

double median_of(const float *a, ptrdiff_t n, ptrdiff_t n_number)
{
    ptrdiff_t k = (n_number - 1) / 2;
    float x, next;

    if (n_number <= 0)
        return NAN;
    x = number_of_rank(a, n, n_number, k);
    if (n_number % 2 == 1)
        return x;
    if (neighbour_above(a, n, x, &next) > k + 1)
        return x;
    return 0.5 * ((double)x + (double)next);
}
