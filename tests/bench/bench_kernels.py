"""Speed of the kernels against a NumPy loop that does the same work in the same process.

Run from the root of the repository, with the package installed: python tests/bench/bench_kernels.py
"""

import argparse
import time

import numpy as np
from scipy import ndimage

from shapempi.kernels import _mask, _psf, _uberseg, _vignet

LANCZOS_A = 4


def seconds(function, at_least):
    """Best time of one call, from calls that take `at_least` seconds together."""
    function()
    best, spent = np.inf, 0.0
    while spent < at_least:
        start = time.perf_counter()
        function()
        taken = time.perf_counter() - start
        best, spent = min(best, taken), spent + taken
    return best


def draw_loop(basis, degree, sampling, xn, yn, size):
    """Draw centred PSFs as a careful NumPy user would: matrices of weights made once, products per stamp."""
    grid = (np.arange(size) - size // 2) / sampling + (basis.shape[1] - 1) / 2
    d = grid[:, None] - np.arange(basis.shape[1])
    weight = np.where(np.abs(d) < LANCZOS_A, np.sinc(d) * np.sinc(d / LANCZOS_A), 0.0)
    total = weight.sum(axis=1, keepdims=True)
    weight = np.divide(weight, total, out=np.zeros_like(weight), where=total != 0)
    stamps = np.empty((len(xn), size, size))
    for i, (x, y) in enumerate(zip(xn, yn, strict=True)):
        terms = [x**p * y**q for q in range(degree + 1) for p in range(degree - q + 1)]
        drawn = weight @ np.tensordot(terms, basis, 1) @ weight.T
        stamps[i] = drawn / drawn.sum()
    return stamps


def cut_loop(planes, x, y, size, fill):
    """Cut stamps by slices."""
    ny, nx = planes[0].shape
    half = size // 2
    stamps = [np.full((len(x), size, size), outside, plane.dtype) for plane, outside in zip(planes, fill, strict=True)]
    for i, (xc, yc) in enumerate(np.rint(np.stack([x, y], axis=1)).astype(int)):
        y0, y1, x0, x1 = max(yc - half, 0), min(yc + half + 1, ny), max(xc - half, 0), min(xc + half + 1, nx)
        for stamp, plane in zip(stamps, planes, strict=True):
            stamp[i, y0 - yc + half : y1 - yc + half, x0 - xc + half : x1 - xc + half] = plane[y0:y1, x0:x1]
    return stamps


def circle_loop(plane, x, y, r, bit):
    """Paint circles box by box."""
    for xc, yc, radius in zip(x, y, r, strict=True):
        y0, x0 = max(int(yc - radius), 0), max(int(xc - radius), 0)
        box = plane[y0 : int(yc + radius) + 2, x0 : int(xc + radius) + 2]
        rows, columns = np.ogrid[: box.shape[0], : box.shape[1]]
        box[(columns + x0 - xc) ** 2 + (rows + y0 - yc) ** 2 <= radius**2] |= bit


def territory_loop(plane, number, x, y, reach):
    """Compare SciPy's exact distances window by window."""
    padded = np.pad(plane, reach)
    windows = np.empty((len(number), 2 * reach + 1, 2 * reach + 1), np.uint8)
    for window, own, xc, yc in zip(windows, number, x, y, strict=True):
        labels = padded[yc : yc + 2 * reach + 1, xc : xc + 2 * reach + 1]
        mine, others = labels == own, (labels != 0) & (labels != own)
        nearer = ndimage.distance_transform_edt(~others) < ndimage.distance_transform_edt(~mine)
        window[...] = np.where(others, 1, 2 * nearer)
    return windows


def cases(n, rng, n_threads):
    """Yield (what, number of things, kernel, loop)."""
    y, x = np.mgrid[-22:23, -22:23] * 0.9
    basis = np.exp(-0.5 * (x**2 + y**2) / 4) * np.array([1, 0.1, 0.05, 0.1, 0.03, 0.05])[:, None, None]
    xn, yn = rng.uniform(-1, 1, (2, n))
    zero = np.zeros(n)
    yield (
        "PSF, 45 x 45, degree 2 -> 51 x 51",
        n,
        lambda: _psf.draw(basis, 2, 0.9, xn, yn, zero, zero, 51, n_threads=n_threads),
        lambda: draw_loop(basis, 2, 0.9, xn, yn, 51),
    )
    shape = (4612, 2048)
    planes = [np.zeros(shape, np.float32), np.zeros(shape, np.float32), np.zeros(shape, np.int32)]
    xs, ys = rng.uniform(0, shape[1], n), rng.uniform(0, shape[0], n)
    yield (
        "vignets 51 x 51 of 3 planes",
        n,
        lambda: _vignet.cut(planes, xs, ys, 51, fill=(0, 0, 4), n_threads=n_threads),
        lambda: cut_loop(planes, xs, ys, 51, (0, 0, 4)),
    )
    centre_x, centre_y = rng.integers(0, 2000, (2, n))
    segments = np.zeros((2000, 2000), np.int32)  # 1000 objects, as many as CFIS has on this area
    for k, (xc, yc) in enumerate(zip(centre_x, centre_y, strict=True), 1):
        segments[max(yc - 4, 0) : yc + 5, max(xc - 4, 0) : xc + 5] = k
    number = np.arange(1, n + 1, dtype=np.int32)
    yield (
        "territories in 103 x 103",
        n,
        lambda: _uberseg.territory(segments, number, centre_x, centre_y, 51, n_threads=n_threads),
        lambda: territory_loop(segments, number, centre_x, centre_y, 51),
    )
    n_circle = min(n, 300)
    r = rng.uniform(5, 150, n_circle)
    plane = np.zeros(shape, np.int32)
    yield (
        "circles of 5 to 150 pixels",
        n_circle,
        lambda: _mask.fill_circles(plane, xs[:n_circle], ys[:n_circle], r, 2, n_threads=n_threads),
        lambda: circle_loop(plane, xs[:n_circle], ys[:n_circle], r, 2),
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", type=int, default=1000, help="stamps in a batch")
    parser.add_argument("--threads", type=int, default=1, help="threads of the kernels")
    parser.add_argument("--seconds", type=float, default=1.0, help="time for each measurement")
    options = parser.parse_args()
    print(f"{'':36}{'kernel [1/s]':>14}{'NumPy loop [1/s]':>18}{'ratio':>8}")
    for what, n, kernel, loop in cases(options.n, np.random.default_rng(1), options.threads):
        kernel_rate, loop_rate = (n / seconds(f, options.seconds) for f in (kernel, loop))
        print(f"{what:36}{kernel_rate:14.0f}{loop_rate:18.0f}{kernel_rate / loop_rate:8.1f}")


if __name__ == "__main__":
    main()
