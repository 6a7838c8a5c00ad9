/* Medians without sorting and without moving the numbers. */
#ifndef SHAPEMPI_MEDIAN_H
#define SHAPEMPI_MEDIAN_H

#include <stddef.h>

/* Arrays below have a length that is a multiple of this; places without a number hold +infinity. */
#define MEDIAN_BLOCK 64

static inline ptrdiff_t median_length(ptrdiff_t n)
{
    return (n + MEDIAN_BLOCK - 1) / MEDIAN_BLOCK * MEDIAN_BLOCK;
}

/* The median of the n_number finite numbers among the n, none of which is -infinity; of an even number of them, the
 * mean of the two in the middle; NaN of none. */
double median_of(const float *a, ptrdiff_t n, ptrdiff_t n_number);

#endif
