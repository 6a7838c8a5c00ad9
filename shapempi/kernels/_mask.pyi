import numpy as np
from numpy.typing import NDArray

def count_bits(plane: NDArray[np.int32], bits: NDArray[np.int32]) -> NDArray[np.int64]: ...
def fill_border(plane: NDArray[np.int32], width: int, bit: int) -> None: ...
def fill_circles(
    plane: NDArray[np.int32],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    r: NDArray[np.float64],
    bit: int,
    *,
    n_threads: int = 1,
) -> None: ...
def fill_ellipses(
    plane: NDArray[np.int32],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    theta_rad: NDArray[np.float64],
    bit: int,
    *,
    n_threads: int = 1,
) -> None: ...
def fill_polygons(
    plane: NDArray[np.int32],
    vertices: NDArray[np.float64],
    first: NDArray[np.int64],
    bit: int,
    *,
    n_threads: int = 1,
) -> None: ...
