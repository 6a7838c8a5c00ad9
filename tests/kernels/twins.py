"""The compiled kernels once more in plain NumPy: what they mean, one object at a time."""

import numpy as np


def evaluate(coefficients, degree, xn, yn):
    terms = [xn**p * yn**q for q in range(degree + 1) for p in range(degree - q + 1)]
    return sum(term[:, None, None] * basis for term, basis in zip(terms, coefficients, strict=True))


def interpolation_weight(interpolant, d):
    """The interpolant at a distance of d samples, not normalised."""
    name, half = interpolant[:-1], int(interpolant[-1])
    window = {
        "lanczos": lambda t: np.sinc(t),
        "kaiser": lambda t: np.i0(6.5 * np.sqrt(np.maximum(1 - t**2, 0.0))) / np.i0(6.5),
    }[name]
    return np.where(np.abs(d) < half, np.sinc(d) * window(d / half), 0.0)


def interpolation_matrix(interpolant, position, n, margin=16):
    """Weights [n_position, n] of n pixels at each real position, normalised over the pixels outside too."""
    weight = interpolation_weight(interpolant, position[:, None] - np.arange(-margin, n + margin))
    total = weight.sum(axis=1, keepdims=True)
    return np.divide(weight, total, out=np.zeros_like(weight), where=total > 0.1)[:, margin:-margin]


def resample(models, sampling, dx, dy, size, interpolant="lanczos4"):
    stamps = np.zeros((len(models), size, size))
    grid = np.arange(size) - size // 2
    _, my, mx = models.shape
    for stamp, model, dx_i, dy_i in zip(stamps, models, dx, dy, strict=True):
        along_x = interpolation_matrix(interpolant, (grid - dx_i) / sampling + (mx - 1) / 2, mx)
        along_y = interpolation_matrix(interpolant, (grid - dy_i) / sampling + (my - 1) / 2, my)
        drawn = along_y @ model @ along_x.T
        if drawn.sum() > 0 and np.isfinite(drawn.sum()):
            stamp[...] = drawn / drawn.sum()
    return stamps


def cut(planes, x, y, size, fill):
    ny, nx = planes[0].shape
    half = size // 2
    stamps = [np.full((len(x), size, size), outside, plane.dtype) for plane, outside in zip(planes, fill, strict=True)]
    centre = np.rint(np.stack([x, y], axis=1)).astype(np.int32)
    inside = np.zeros(len(x))
    for i, (xc, yc) in enumerate(centre):
        for oy in range(size):
            for ox in range(size):
                row, column = yc + oy - half, xc + ox - half
                if 0 <= row < ny and 0 <= column < nx:
                    inside[i] += 1 / size**2
                    for stamp, plane in zip(stamps, planes, strict=True):
                        stamp[i, oy, ox] = plane[row, column]
    valid = (centre >= 0).all(axis=1) & (centre < (nx, ny)).all(axis=1)
    return stamps, centre, np.stack([x, y], axis=1) - centre, inside, valid


def inside_polygon(shape, vertices):
    """Even-odd rule at every pixel centre: count the crossings at or left of it."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    odd = np.zeros(shape, bool)
    for (x1, y1), (x2, y2) in zip(vertices, np.roll(vertices, 1, axis=0), strict=True):
        if y1 > y2:  # an edge is rounded alike in both polygons that share it
            (x1, y1), (x2, y2) = (x2, y2), (x1, y1)
        if y1 != y2:
            crosses = (y1 <= y) != (y2 <= y)
            odd ^= crosses & (x1 + (y - y1) / (y2 - y1) * (x2 - x1) <= x)
    return odd


def inside_ellipse(shape, x, y, a, b, theta_rad):
    dy, dx = np.mgrid[: shape[0], : shape[1]] - np.array([y, x]).reshape(2, 1, 1)
    along = dx * (np.cos(theta_rad) / a) + dy * (np.sin(theta_rad) / a)
    across = dx * (-np.sin(theta_rad) / b) + dy * (np.cos(theta_rad) / b)
    return along * along + across * across <= 1


def count_bits(plane, bits):
    return np.array([np.count_nonzero(plane & bit) for bit in bits.tolist()])


def inside_border(shape, width):
    y, x = np.mgrid[: shape[0], : shape[1]]
    return np.minimum(np.minimum(x, shape[1] - 1 - x), np.minimum(y, shape[0] - 1 - y)) < width


def smooth(data, kernel):
    """The filter in single precision, its pixels in order."""
    ky, kx = kernel.shape
    padded = np.pad(data, ((ky // 2, ky // 2), (kx // 2, kx // 2)))
    out = np.zeros_like(data)
    for i in range(ky):
        for j in range(kx):
            out += kernel[i, j] * padded[i : i + data.shape[0], j : j + data.shape[1]]
    return out


def label(smoothed, variance, threshold):
    """8-connected regions by flooding from each first pixel."""
    above = smoothed > np.float32(threshold) * np.sqrt(variance)
    labels = np.zeros(above.shape, np.int32)
    boxes, counts, peaks = [], [], []
    for first in zip(*np.nonzero(above), strict=True):
        if labels[first]:
            continue
        waiting, members = [first], []
        labels[first] = len(boxes) + 1
        while waiting:
            y, x = waiting.pop()
            members.append((y, x))
            for near in ((y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)):
                if all(0 <= k < n for k, n in zip(near, above.shape, strict=True)) and above[near] and not labels[near]:
                    labels[near] = len(boxes) + 1
                    waiting.append(near)
        rows, columns = np.array(members).T
        boxes.append((rows.min(), rows.max() + 1, columns.min(), columns.max() + 1))
        counts.append(len(members))
        mine = np.where(labels == len(boxes), smoothed, -np.inf)
        highest = [mine[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].max() for y, x in members]
        peaks.append(sum(mine[member] == top for member, top in zip(members, highest, strict=True)))
    numbers = (np.array(some, np.int64) for some in (counts, peaks))
    return labels, np.array(boxes, np.int64).reshape(-1, 4), *numbers


def territory(plane, number, x, y, reach):
    """Every pixel against every segmented pixel of its window: 1 another object's own, 2 nearer to one, 0 all else."""
    side = 2 * reach + 1
    grid = np.stack(np.mgrid[:side, :side], axis=-1)
    windows = np.zeros((len(number), side, side), np.uint8)
    for window, own, xc, yc in zip(windows, number, x, y, strict=True):
        labels = np.zeros((side, side), np.int64)
        for row, column in grid.reshape(-1, 2):
            py, px = yc - reach + row, xc - reach + column
            if 0 <= py < plane.shape[0] and 0 <= px < plane.shape[1]:
                labels[row, column] = plane[py, px]
        foreign = (labels != 0) & (labels != own)
        mine = grid[labels == own] if (labels == own).any() else np.array([[reach, reach]])
        if foreign.any():
            nearest = [((grid[:, :, None] - places) ** 2).sum(axis=-1).min(axis=-1) for places in (mine, grid[foreign])]
            window[nearest[1] < nearest[0]] = 2
        window[foreign] = 1
    return windows


def spread_sums(stamps, weights, across, down, shares):
    """The sums of the spread model, stamp by stamp."""
    sums = []
    for image, weight, columns, rows in zip(stamps, weights, across, down, strict=True):
        good = (weight > 0) & np.isfinite(weight) & np.isfinite(image)
        value, variance = image[good].astype(float), 1.0 / weight[good].astype(float)
        models = np.einsum("ky,kx->kyx", rows, columns)
        phi, galaxy = models[0][good], np.einsum("k,kyx->yx", shares, models[1:])[good]
        terms = (galaxy * value, phi * value, galaxy * phi, phi * phi)
        sums.append([term.sum() for term in (*terms, *(variance * m for m in (galaxy**2, phi**2, galaxy * phi)))])
    return np.array(sums).reshape(-1, 7)
