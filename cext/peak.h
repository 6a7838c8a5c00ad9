/* The multiply-adds per second that a core can reach: what benchmarks compare kernels with. */
#ifndef SHAPEMPI_PEAK_H
#define SHAPEMPI_PEAK_H

#include "isa.h"

/* As many chains as hide the latency of a multiply-add on two units, and fit into 16 registers with the factors. */
#define PEAK_CHAINS 12

#define PEAK_DECLARE(isa)                              \
    long peak_f64_##isa(long n_round, double *result); \
    long peak_f32_##isa(long n_round, double *result);
PEAK_DECLARE(portable)
PEAK_DECLARE(avx2)
PEAK_DECLARE(avx512)

/* Do n_round multiply-adds in each place of each chain; returns how many numbers were multiplied and added. */
long peak_run(int isa, int single, long n_round, double *result);

#endif
