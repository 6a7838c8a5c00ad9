import numpy as np
from numpy.typing import NDArray

def fit(
    images: NDArray[np.float64],
    weights: NDArray[np.float64],
    jacobians: NDArray[np.float64],
    origins: NDArray[np.float64],
    sigma: NDArray[np.float64],
    first: NDArray[np.int64],
    start: NDArray[np.float64],
    *,
    flux_fractions: NDArray[np.float64],
    size_fractions: NDArray[np.float64],
    with_prior: bool = True,
    centre_prior_sigma: float,
    g_prior_sigma: float,
    T_min: float,
    T_max: float,
    flux_min: float,
    flux_max: float,
    tolerance: float,
    max_evaluations: int,
    n_try: int = 3,
    isa: str = "auto",
    n_threads: int = 1,
) -> tuple[
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.int32],
    NDArray[np.int32],
]: ...
