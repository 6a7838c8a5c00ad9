import numpy as np
from numpy.typing import NDArray

_Stamps = NDArray[np.float64] | NDArray[np.float32]
_Weights = NDArray[np.float64] | NDArray[np.float32] | NDArray[np.bool_]

def adaptive(
    stamps: _Stamps,
    weights: _Weights | None,
    guess_sigma: NDArray[np.float64],
    *,
    n_threads: int = 1,
    isa: str = "auto",
) -> tuple[NDArray[np.float64], NDArray[np.int32], NDArray[np.int32]]: ...
def fixed(
    stamps: _Stamps,
    weights: _Weights | None,
    jacobians: NDArray[np.float64],
    offsets: NDArray[np.float64],
    fwhm: float,
    *,
    n_threads: int = 1,
    isa: str = "auto",
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int32]]: ...
