/* CLONES before a function: compile it for several instruction sets too, the CPU chooses when it loads.
 *
 * Only wider vectors are used, never another order of the arithmetic and never fused operations (see meson.build),
 * so every clone gives the same bits.  The build defines HAVE_TARGET_CLONES where compiler and linker know how.
 */
#ifndef SHAPEMPI_CLONES_H
#define SHAPEMPI_CLONES_H

#ifdef HAVE_TARGET_CLONES
#define CLONES __attribute__((target_clones("default", "avx2", "avx512f")))
#else
#define CLONES
#endif

#endif
