from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

def cut(
    planes: Sequence[np.ndarray],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    size: int,
    *,
    fill: Sequence[float],
    n_threads: int = 1,
) -> tuple[list[np.ndarray], NDArray[np.int32], NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]: ...
