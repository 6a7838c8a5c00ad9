import numpy as np
from numpy.typing import DTypeLike, NDArray

def band(
    psf: NDArray[np.float64],
    jacobian: NDArray[np.float64],
    *,
    target: str = "none",
    isa: str = "auto",
    n_threads: int = 1,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...
def images(
    image: NDArray[np.float64],
    psf: NDArray[np.float64],
    jacobian: NDArray[np.float64],
    sigma: NDArray[np.float64],
    max_k: NDArray[np.float64],
    shear: NDArray[np.float64],
    *,
    noise: NDArray[np.float64] | None = None,
    dilation: float = 0.0,
    period: int = 128,
    dtype: DTypeLike = np.float64,
    isa: str = "auto",
    n_threads: int = 1,
) -> np.ndarray: ...
