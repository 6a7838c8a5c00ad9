# cython: language_level=3
# cython: freethreading_compatible=True, embedsignature=True
"""Multiply-adds and nothing else: how many a core can do, for benchmarks to compare kernels with."""

cdef extern from "isa.h" nogil:
    int isa_find(const char *name) noexcept

cdef extern from "peak.h" nogil:
    long peak_run(int isa, int single, long n_round, double *result) noexcept


def multiply_adds(long n_round, *, bint single=False, str isa="auto"):
    """
    Do independent chains of multiply-adds in registers.

    Parameters
    ----------
    n_round : int
        Rounds; one round is 12 vectors of multiply-adds.
    single : bool, optional
        float32 instead of float64.
    isa : str, optional
        Instruction set, "auto" or one of `_isa.available()`.

    Returns
    -------
    count : int
        How many numbers were multiplied and added: a fused operation on one number counts as one.
    result : float
        What comes out, so that nothing can be left out: between 0 and 1.

    Raises
    ------
    ValueError
        If n_round is negative, or build or CPU do not have the instruction set.
    """
    cdef double result = 0.0
    cdef long count
    cdef int path = isa_find(isa.encode())
    if path < 0:
        raise ValueError(f"no instruction set {isa!r} here")
    if n_round < 0:
        raise ValueError(f"n_round is {n_round}, must not be negative")
    with nogil:
        count = peak_run(path, single, n_round, &result)
    return count, result
