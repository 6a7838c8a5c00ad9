"""`python -m shapempi` and the command `shapempi`: sets the number of threads, then runs the command line."""

import importlib
import os

__all__ = ["main"]


def main() -> int:
    """Run the command line; returns its exit code.

    One thread per rank unless the user says otherwise: libraries that start their own would fight over the cores.
    They read these variables when they are loaded, so nothing that imports NumPy may be imported before.
    """
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    return int(importlib.import_module("shapempi.cli").main())


if __name__ == "__main__":
    raise SystemExit(main())
