import numpy as np
from numpy.typing import NDArray

FILL: int
NOISE: int
LEVEL_DTYPE: np.dtype

def blocks(key: NDArray[np.uint64], first: NDArray[np.uint64], n: int) -> NDArray[np.uint64]: ...
def normal(
    key: NDArray[np.uint64],
    place: NDArray[np.int64],
    exposure: NDArray[np.int32],
    ccd: NDArray[np.int32],
    field: int,
    size: int,
    *,
    n_threads: int = 1,
) -> NDArray[np.float64]: ...
def inspect(
    image: NDArray[np.float32],
    weight: NDArray[np.float32],
    flag: NDArray[np.int32],
    psf: NDArray[np.float64],
    jacobian: NDArray[np.float64],
    offset: NDArray[np.float64],
    core_radius: float,
    *,
    given_up: int = 0,
    n_threads: int = 1,
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]: ...
def take(
    image: NDArray[np.float32],
    weight: NDArray[np.float32],
    flag: NDArray[np.int32],
    psf: NDArray[np.float64],
    psf_sum: NDArray[np.float64],
    rows: NDArray[np.int64],
    *,
    n_threads: int = 1,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]: ...
def restore(
    taken: NDArray[np.float64],
    image: NDArray[np.float32],
    weight: NDArray[np.float32],
    flag: NDArray[np.int32],
    rows: NDArray[np.int64],
    given_up: int,
    *,
    n_threads: int = 1,
) -> None: ...
def level(
    image: NDArray[np.float64], weight: NDArray[np.float64], model: NDArray[np.float64], *, n_threads: int = 1
) -> NDArray: ...
def fill(
    image: NDArray[np.float64], weight: NDArray[np.float64], model: NDArray[np.float64], *, n_threads: int = 1
) -> None: ...
def finish(
    image: NDArray[np.float64],
    weight: NDArray[np.float64],
    model: NDArray[np.float64],
    key: NDArray[np.uint64],
    place: NDArray[np.int64],
    exposure: NDArray[np.int32],
    ccd: NDArray[np.int32],
    *,
    by_map: bool = False,
    n_threads: int = 1,
) -> tuple[NDArray[np.float64], NDArray, NDArray[np.float64]]: ...
