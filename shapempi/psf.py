"""The evaluated form of every PSF model: a pixel basis whose coefficients are a polynomial of the position.

Whatever engine makes a model (the fit in process, PSFEx, Piff), it ends in this form, and one kernel draws it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shapempi.errors import DataError
from shapempi.kernels import _psf
from shapempi.product import Product

__all__ = ["INTERPOLANTS", "PsfModel", "n_terms"]

#: Interpolations between the samples of a model's grid; see `shapempi.kernels._psf`.
INTERPOLANTS = _psf.INTERPOLANTS

#: What a file that does not say is resampled by, as PSFEx resamples its models.
_USUAL = "lanczos4"


def n_terms(degree: int) -> int:
    """Return the number of terms of a polynomial of two variables and of total degree `degree`."""
    return (degree + 1) * (degree + 2) // 2


@dataclass(frozen=True)
class PsfModel:
    """A polynomial pixel-basis PSF of one CCD (behaviour specification, section 7.3).

    Attributes
    ----------
    coefficients : ndarray of float64 [n_coef, y, x]
        Basis images.  With x' = (x - zero[0]) / scale[0], y' likewise, the PSF is sum_k t_k coefficients[k],
        terms in the order 1, x', x'^2, .., y', x'y', .., y'^2 (for q in 0..d, for p in 0..d-q: x'^p y'^q).
    degree : int
        Total degree d of the polynomial; n_coef = (d + 1)(d + 2)/2.
    zero, scale : tuple of float
        Origin and unit of the polynomial coordinates, in 1-based pixels as PSFEx writes them.
    sampling : float
        Step of the model's grid in image pixels (PSF_SAMP).
    n_star : int
        Stars that the model was fitted to, after rejection.
    chi2 : float
        Reduced chi^2 of the fit.
    fwhm : float
        FWHM at the origin of the polynomial [pixel].
    interpolant : str
        How values between the grid's points are made, one of `INTERPOLANTS`.  It belongs to the model: a fit finds
        the samples that are right with its own interpolation.
    """

    coefficients: np.ndarray
    degree: int
    zero: tuple[float, float]
    scale: tuple[float, float]
    sampling: float
    n_star: int
    chi2: float
    fwhm: float
    interpolant: str = _USUAL

    def __post_init__(self) -> None:
        """Check that the number of coefficients fits the degree, and that the interpolant exists."""
        expected = n_terms(self.degree)
        if self.coefficients.ndim != 3 or len(self.coefficients) != expected:
            raise DataError(
                f"a PSF model of degree {self.degree} has {expected} basis images, "
                f"not an array of shape {self.coefficients.shape}"
            )
        if self.interpolant not in INTERPOLANTS:
            raise DataError(
                f"a PSF model has the interpolant {self.interpolant!r}; there are {', '.join(INTERPOLANTS)}"
            )

    def draw(
        self,
        x: np.ndarray,
        y: np.ndarray,
        size: int,
        *,
        dx: np.ndarray | None = None,
        dy: np.ndarray | None = None,
        n_threads: int = 1,
    ) -> np.ndarray:
        """Draw the PSF at many positions.

        Parameters
        ----------
        x, y : ndarray of float64 [n]
            Pixel positions on the CCD, 0-based.
        size : int
            Side of the stamps [pixel], odd.
        dx, dy : ndarray of float64 [n], optional
            Offset of the PSF's centre from the stamp's centre [pixel]; zero by default.
        n_threads : int, optional
            Threads; the result does not depend on it.

        Returns
        -------
        ndarray of float64 [n, size, size]
            Stamps of unit sum; all zero where a coordinate or an offset is not finite.
        """
        x1 = (np.atleast_1d(np.asarray(x, float)) + 1.0 - self.zero[0]) / self.scale[0]
        y1 = (np.atleast_1d(np.asarray(y, float)) + 1.0 - self.zero[1]) / self.scale[1]
        zeros = np.zeros_like(x1)
        return _psf.draw(
            np.ascontiguousarray(self.coefficients, dtype=float),
            self.degree,
            self.sampling,
            x1,
            y1,
            zeros if dx is None else np.ascontiguousarray(dx, dtype=float),
            zeros if dy is None else np.ascontiguousarray(dy, dtype=float),
            size,
            interpolant=self.interpolant,
            n_threads=n_threads,
        )

    def to_product(self) -> Product:
        """Return the model as arrays and scalars for a part file."""
        return Product(
            arrays={"psf_coefficients": np.asarray(self.coefficients, dtype=np.float32)},
            attrs={
                "psf_degree": self.degree,
                "psf_zero_x": self.zero[0],
                "psf_zero_y": self.zero[1],
                "psf_scale_x": self.scale[0],
                "psf_scale_y": self.scale[1],
                "psf_sampling": self.sampling,
                "psf_n_star": self.n_star,
                "psf_chi2": self.chi2,
                "psf_fwhm": self.fwhm,
                "psf_interpolant": self.interpolant,
            },
        )

    @classmethod
    def from_product(cls, product: Product) -> PsfModel:
        """Read back what `to_product` wrote."""
        attrs = product.attrs
        return cls(
            coefficients=np.asarray(product.arrays["psf_coefficients"], dtype=float),
            degree=int(attrs["psf_degree"]),
            zero=(float(attrs["psf_zero_x"]), float(attrs["psf_zero_y"])),
            scale=(float(attrs["psf_scale_x"]), float(attrs["psf_scale_y"])),
            sampling=float(attrs["psf_sampling"]),
            n_star=int(attrs["psf_n_star"]),
            chi2=float(attrs["psf_chi2"]),
            fwhm=float(attrs["psf_fwhm"]),
            interpolant=str(attrs.get("psf_interpolant", _USUAL)),
        )
