import numpy as np
from numpy.typing import NDArray

def sums(
    stamps: NDArray[np.float32],
    weights: NDArray[np.float32],
    across: NDArray[np.float64],
    down: NDArray[np.float64],
    shares: NDArray[np.float64],
    *,
    n_threads: int = 1,
) -> NDArray[np.float64]: ...
