"""Plain NumPy twins of the noise kernels; every number must come out with the same bits."""

import numpy as np

ROTATIONS = ((14, 16), (52, 57), (23, 40), (5, 37), (25, 33), (46, 12), (58, 22), (32, 32))
LN2_HIGH, LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
ONE = np.uint64(0x3FF0000000000000)


def u8(number):
    return np.uint64(number & 0xFFFFFFFFFFFFFFFF)


def blocks(key, first, n):
    """Threefry-4x64-20: words [4, n] of the counters first, first + 1, ..."""
    ks = [np.uint64(word) for word in key]
    ks.append(ks[0] ^ ks[1] ^ ks[2] ^ ks[3] ^ u8(0x1BD11BDAA9FC1A22))
    with np.errstate(over="ignore"):
        x = [np.full(n, word, np.uint64) for word in first]
        x[0] = x[0] + np.arange(n, dtype=np.uint64)
        x = [x[i] + ks[i] for i in range(4)]
        for r in range(20):
            for (i, j), bits in zip(
                ((0, 1), (2, 3)) if r % 2 == 0 else ((0, 3), (2, 1)), ROTATIONS[r % 8], strict=True
            ):
                x[i] = x[i] + x[j]
                x[j] = ((x[j] << u8(bits)) | (x[j] >> u8(64 - bits))) ^ x[i]
            if r % 4 == 3:
                turn = (r + 1) // 4
                x = [x[i] + ks[(turn + i) % 5] for i in range(4)]
                x[3] = x[3] + u8(turn)
    return np.array(x)


def log(x):
    bits = x.view(np.uint64)
    with np.errstate(over="ignore"):
        e = (bits - u8(0x3FE6A09E667F3BCD) + u8(1024 << 52)) >> u8(52)
        m = (bits - ((e - u8(1024)) << u8(52))).view(np.float64)
    exponent = e.astype(np.int64) - 1024.0
    s = (m - 1.0) / (m + 1.0)
    q = s * s
    y = 2.0 / 21.0
    for k in (19, 17, 15, 13, 11, 9, 7, 5, 3):
        y = y * q + 2.0 / k
    y = y * q * s + exponent * LN2_LOW
    return exponent * LN2_HIGH + (2.0 * s + y)


def sin_cos(x):
    q = x * x
    s = -1.0 / 1307674368000.0
    for term in (1 / 6227020800, -1 / 39916800, 1 / 362880, -1 / 5040, 1 / 120, -1 / 6):
        s = s * q + term
    c = 1.0 / 20922789888000.0
    for term in (-1 / 87178291200, 1 / 479001600, -1 / 3628800, 1 / 40320, -1 / 720, 1 / 24):
        c = c * q + term
    return x + x * (q * s), (1.0 - 0.5 * q) + q * (q * c)


def exp(x):
    inside = np.clip(x, -700.0, 700.0)
    n = np.rint(inside * 1.4426950408889634074)
    r = (inside - n * LN2_HIGH) - n * LN2_LOW
    y = 1.0 / 6227020800.0
    for denominator in (479001600, 39916800, 3628800, 362880, 40320, 5040, 720, 120, 24, 6, 2, 1, 1):
        y = y * r + 1.0 / denominator
    return np.where(x > -700.0, np.ldexp(y, n.astype(int)), 0.0)


def box_muller(u, v):
    """Two random words to two normal numbers."""
    radius = np.sqrt(-2.0 * log(2.0 - (ONE | (u >> u8(12))).view(np.float64)))
    s, c = sin_cos(((ONE | ((v << u8(2)) >> u8(12))).view(np.float64) - 1.5) * 1.57079632679489661923)
    quarter = v >> u8(62)
    x = np.choose(quarter.astype(int), [c, -s, -c, s])
    y = np.choose(quarter.astype(int), [s, c, -s, -c])
    return radius * x, radius * y


def normal(key, place, exposure, ccd, field, size):
    """One field [size, size]."""
    n_block = (size * size + 3) // 4
    w = blocks(key, [field << 32, place, exposure, ccd], n_block)
    numbers = np.concatenate([*box_muller(w[0], w[1]), *box_muller(w[2], w[3])])
    return numbers[: size * size].reshape(size, size)


def median(values):
    """The median; of an even number of values, the mean of the two in the middle in double precision."""
    if values.size == 0:
        return np.nan
    ordered = np.sort(values).astype(np.float64)
    return 0.5 * (ordered[(values.size - 1) // 2] + ordered[values.size // 2])


def mad_sigma(values):
    deviation = np.minimum(np.abs(values.astype(np.float64) - median(values)), np.finfo(np.float32).max)
    return 1.482602218505602 * median(deviation.astype(np.float32))


def grid(shape, model):
    """Coordinates from the centre of a model."""
    ny, nx = shape
    y, x = np.arange(ny)[:, None], np.arange(nx)[None, :]
    return x - (0.5 * (nx - 1) + model[3]), y - (0.5 * (ny - 1) + model[4])


def level(image, weight, model):
    """The noise of one stamp: sigma, mapped, measured, agrees."""
    good = weight > 0
    values = image[good].astype(np.float32)
    mapped = 1.0 / np.sqrt(median(weight[good])) if good.any() else np.nan
    sigma = mad_sigma(values)
    if sigma > 0 and np.isfinite(model).all():
        x, y = grid(image.shape, model)
        profile = model[5] / (2 * np.pi * model[2] ** 2) * np.exp(-0.5 * (x**2 + y**2) / model[2] ** 2)
        values = values[profile[good] < 1.2 * sigma]
        sigma = mad_sigma(values)
    if values.size < 50 or not sigma > 0:
        return mapped, mapped, False, True
    return sigma, mapped, True, abs(sigma / mapped - 1.0) <= 0.2


def fill(image, weight, model):
    """One stamp whose holes have the profile of the rest."""
    good = weight > 0
    if not (good.any() and np.isfinite(model).all()):
        return np.where(good, image, 0.0)
    g1, g2, variance = model[0], model[1], model[2] * model[2]
    scale = 1.0 / np.sqrt(1.0 - g1 * g1 - g2 * g2)
    x, y = grid(image.shape, model)
    a, b = scale * ((1.0 - g1) * x - g2 * y), scale * ((1.0 + g1) * y - g2 * x)
    squared = a * a + b * b
    light = model[5] / (2.0 * np.pi * variance) * exp(-0.5 / variance * squared)
    radius = np.minimum(np.sqrt(squared), 127.0)
    some = np.where(squared > 0, squared, 1.0)
    angle = np.stack([np.ones(image.shape), (a * a - b * b) / some, 2.0 * a * b / some])
    ring, left = radius.astype(int), image - light
    rings = np.unique(ring[good])
    radii = [radius[good & (ring == index)].mean() for index in rings]
    left = left - np.interp(radius, radii, [left[good & (ring == index)].mean() for index in rings])
    light = image - left
    terms = np.zeros((len(rings), 3))
    for k, index in enumerate(rings):
        here = good & (ring == index)
        design, n = angle[:, here].T, here.sum()
        spread = (design - design.mean(axis=0))[:, 1:]
        if n >= 8 and np.linalg.det(spread.T @ spread) > 0.02 * n * n:
            terms[k] = np.linalg.lstsq(design, left[here], rcond=None)[0]
    light = light + sum(np.interp(radius, radii, terms[:, k]) * angle[k] for k in (1, 2))
    return np.where(good, image, np.minimum(light, np.max(image[good], initial=0.0)))


def finish(image, weight, model, key, place, exposure, ccd, *, by_map):
    """One stamp made ready: image, weight, noise, sigma."""
    sigma, mapped, _, _ = level(image, weight, model)
    good = weight > 0
    hole = mapped if by_map else sigma
    size = image.shape[0]
    filled = np.where(good, image, image + hole * normal(key, place, exposure, ccd, 0, size))
    if by_map:
        rms = np.where(good, 1.0 / np.sqrt(np.where(good, weight, 1.0)), hole)
        ready = weight
    else:
        rms = np.full(image.shape, sigma)
        ready = np.where(good, 1.0 / (sigma * sigma), 0.0)
    return filled, ready, rms * normal(key, place, exposure, ccd, 1, size), sigma
