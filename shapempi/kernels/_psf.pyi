import numpy as np
from numpy.typing import NDArray

INTERPOLANTS: tuple[str, ...]

def draw(
    coefficients: NDArray[np.float64],
    degree: int,
    sampling: float,
    xn: NDArray[np.float64],
    yn: NDArray[np.float64],
    dx: NDArray[np.float64],
    dy: NDArray[np.float64],
    size: int,
    *,
    interpolant: str = "lanczos4",
    n_threads: int = 1,
) -> NDArray[np.float64]: ...
def evaluate(
    coefficients: NDArray[np.float64],
    degree: int,
    xn: NDArray[np.float64],
    yn: NDArray[np.float64],
    *,
    n_threads: int = 1,
) -> NDArray[np.float64]: ...
def resample(
    models: NDArray[np.float64],
    sampling: float,
    dx: NDArray[np.float64],
    dy: NDArray[np.float64],
    size: int,
    *,
    interpolant: str = "lanczos4",
    n_threads: int = 1,
) -> NDArray[np.float64]: ...
