/* Random numbers that are functions of a key and a counter: Threefry-4x64-20 of Salmon et al. (2011, SC11). */
#ifndef SHAPEMPI_THREEFRY_H
#define SHAPEMPI_THREEFRY_H

#include <stddef.h>
#include <stdint.h>

/* words[j n + i] = word j of the block with counter (first + i, c1, c2, c3), for n blocks. */
void threefry_blocks(const uint64_t key[4], const uint64_t first[4], ptrdiff_t n, uint64_t *words);

/* n normal numbers of mean 0 and variance 1 by Box and Muller.
 *
 * The counter of a block is (block + 2^32 field, place, exposure, ccd).  A block makes four numbers; with B blocks in
 * all, those of block b are numbers b, B + b, 2 B + b and 3 B + b, so that blocks side by side fill vectors. */
void threefry_normal(const uint64_t key[4], uint64_t place, uint32_t exposure, uint32_t ccd, uint32_t field,
                     ptrdiff_t n, double *out);

#endif
