import numpy as np
from numpy.typing import NDArray

def label(
    smoothed: NDArray[np.float32], variance: NDArray[np.float32], threshold: float
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]: ...
def smooth(data: NDArray[np.float32], kernel: NDArray[np.float32]) -> NDArray[np.float32]: ...
