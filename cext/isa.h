/* Instruction sets: sources of heavy arithmetic are compiled once for each, the fastest that the CPU has is chosen
 * at run time.
 *
 * Such a source is compiled with ISA defined as portable, avx2 or avx512 (see meson.build) and names its functions
 * ISA_NAME(f).  Sums are made in the same order on each; products are fused with additions where the instruction
 * set can, so that results agree to rounding and not bit by bit.
 */
#ifndef SHAPEMPI_ISA_H
#define SHAPEMPI_ISA_H

#define ISA_JOIN(name, isa) name##_##isa
#define ISA_EXPAND(name, isa) ISA_JOIN(name, isa)
#define ISA_NAME(name) ISA_EXPAND(name, ISA)

#define ISA_COUNT 3

/* The versions of one function, in the order of isa_find's numbers. */
#ifdef HAVE_X86_PATHS
#define ISA_TABLE(name) {name##_portable, name##_avx2, name##_avx512}
#else
#define ISA_TABLE(name) {name##_portable, 0, 0}
#endif

/* The number of an instruction set that build and CPU have: "portable" 0, "avx2" 1, "avx512" 2, or the largest of
 * these for "auto"; -1 if there is none of this name. */
int isa_find(const char *name);

/* The name of a number; NULL beyond the last. */
const char *isa_label(int isa);

#endif
