import numpy as np
from numpy.typing import NDArray

KEPT: int
NEIGHBOUR: int
NEARER: int

def territory(
    plane: NDArray[np.int32],
    number: NDArray[np.int32],
    x: NDArray[np.int64],
    y: NDArray[np.int64],
    reach: int,
    *,
    n_threads: int = 1,
) -> NDArray[np.uint8]: ...
