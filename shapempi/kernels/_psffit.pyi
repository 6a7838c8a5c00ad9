import numpy as np

N_TAP: int

def taps(offset: np.ndarray, n_pixel: int, n_sample: int, sampling: float) -> tuple[np.ndarray, np.ndarray]: ...
def draw(
    basis: np.ndarray,
    terms: np.ndarray,
    rows: tuple[np.ndarray, np.ndarray],
    columns: tuple[np.ndarray, np.ndarray],
) -> np.ndarray: ...
def transpose(
    stamps: np.ndarray,
    terms: np.ndarray,
    rows: tuple[np.ndarray, np.ndarray],
    columns: tuple[np.ndarray, np.ndarray],
    m_y: int,
    m_x: int,
) -> np.ndarray: ...
def normal(
    basis: np.ndarray,
    weights: np.ndarray,
    terms: np.ndarray,
    rows: tuple[np.ndarray, np.ndarray],
    columns: tuple[np.ndarray, np.ndarray],
) -> np.ndarray: ...
