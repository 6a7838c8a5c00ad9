"""The kernel of joint fits once more in plain NumPy: the model, what is minimised, and the errors at a place."""

import numpy as np

GAUSS = (np.ones(1), np.ones(1))

#: Two components, to test mixtures with few numbers.
PAIR = (np.array([0.3, 0.7]), np.array([0.4, 0.88 / 0.7]))

#: Settings of the kernel that are the same in all tests.
SETTINGS = {
    "centre_prior_sigma": 0.186,
    "g_prior_sigma": 0.4,
    "T_min": -10.0,
    "T_max": 1e6,
    "flux_min": -1e4,
    "flux_max": 1e9,
    "tolerance": 1e-8,
    "max_evaluations": 100,
}


def draw(p, shape, jacobian, sigma, origin=(0.0, 0.0), components=GAUSS):
    """Return the model [y, x] in counts at parameters v, u, g1, g2, T, flux."""
    dudx, dudy, dvdx, dvdy = jacobian
    y, x = (np.indices(shape) - (np.array(shape).reshape(2, 1, 1) - 1) / 2).astype(float)
    d = np.stack([dvdx * x + dvdy * y - origin[1] - p[0], dudx * x + dudy * y - origin[0] - p[1]])
    e1, e2 = 2 * np.array(p[2:4]) / (1 + p[2] ** 2 + p[3] ** 2)
    image = np.zeros(shape)
    for fraction, size in zip(*components, strict=True):
        moments = 0.5 * size * p[4] * np.array([[1 - e1, e2], [e2, 1 + e1]]) + sigma**2 * np.eye(2)
        chi2 = np.einsum("iyx,ij,jyx->yx", d, np.linalg.inv(moments), d)
        image += fraction * np.exp(-0.5 * chi2) / (2 * np.pi * np.sqrt(np.linalg.det(moments)))
    return p[5] * abs(dudx * dvdy - dudy * dvdx) * image


def residuals(p, epochs, components=GAUSS, *, with_prior=True):
    """Return the residuals of all pixels, and those of the priors on v, u and shape.

    An epoch is (image, weight, jacobian, sigma, origin).
    """
    pixels = []
    for image, weight, jacobian, sigma, origin in epochs:
        good = weight > 0
        model = draw(p, image.shape, jacobian, sigma, origin, components)
        pixels.append(np.sqrt(weight[good]) * (model[good] - image[good]))
    gg = p[2] ** 2 + p[3] ** 2
    shape = np.sqrt(-4 * np.log1p(-gg) + gg / SETTINGS["g_prior_sigma"] ** 2)
    prior = np.array([*p[:2] / SETTINGS["centre_prior_sigma"], shape])
    return np.concatenate([*pixels, prior if with_prior else np.zeros(3)])


def derivatives(p, *args, step=1e-4, **kwargs):
    """Return the derivatives [6, n] of the residuals by central differences of fourth order."""
    rows = []
    for i in range(6):
        unit = np.zeros(6)
        unit[i] = step * max(abs(p[i]), 0.1)
        values = [residuals(p + k * unit, *args, **kwargs) for k in (-2, -1, 1, 2)]
        rows.append((values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * unit[i]))
    return np.array(rows)


def covariance(p, epochs, components=GAUSS, *, with_prior=True):
    """Return the covariance [6, 6] of the parameters, scaled by the variance of the residuals."""
    slopes = derivatives(p, epochs, components, with_prior=with_prior)
    pixels = residuals(p, epochs, components)[:-3]
    return np.linalg.inv(slopes @ slopes.T) * (pixels @ pixels) / (pixels.size - 6)


def signal_to_noise(p, epochs, components=GAUSS):
    """Return sum(w d m)/sqrt(sum(w m^2))."""
    numerator = denominator = 0.0
    for image, weight, jacobian, sigma, origin in epochs:
        model = draw(p, image.shape, jacobian, sigma, origin, components)
        good = weight > 0
        numerator += np.sum((weight * image * model)[good])
        denominator += np.sum((weight * model**2)[good])
    return numerator / np.sqrt(denominator)
