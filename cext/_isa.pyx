# cython: language_level=3
# cython: freethreading_compatible=True, embedsignature=True
"""Instruction sets that the kernels were built for and that this CPU has."""

cdef extern from "isa.h" nogil:
    int isa_find(const char *name) noexcept
    const char *isa_label(int isa) noexcept


def available():
    """
    Return the names that kernels accept as `isa` here, beside "auto", from the plainest to the fastest.

    Returns
    -------
    tuple of str
        Some of "portable", "avx2", "avx512"; "auto" chooses the last.
    """
    cdef int isa
    names = []
    for isa in range(3):
        if isa_find(isa_label(isa)) == isa:
            names.append(isa_label(isa).decode())
    return tuple(names)
