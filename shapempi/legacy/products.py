"""All products by the names that people type, in the order in which the reference system makes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from shapempi.errors import ConfigError
from shapempi.legacy.final_cat import FINAL_CAT
from shapempi.legacy.flag import FLAG
from shapempi.legacy.galaxy_psf import GALAXY_PSF
from shapempi.legacy.ngmix import NGMIX
from shapempi.legacy.part import Product
from shapempi.legacy.psf import PSF
from shapempi.legacy.sexcat import SEXCAT
from shapempi.legacy.split import SPLIT
from shapempi.legacy.spread import SPREAD
from shapempi.legacy.stars import STARS
from shapempi.legacy.validation import VALIDATION
from shapempi.legacy.vignets import VIGNETS
from shapempi.measure.setools.source import nearest

__all__ = ["PRODUCTS", "choose_products"]

#: The products.
PRODUCTS: Mapping[str, Product] = {
    "split": SPLIT,
    "flag": FLAG,
    "sexcat": SEXCAT,
    "stars": STARS,
    "psf": PSF,
    "validation": VALIDATION,
    "galaxy_psf": GALAXY_PSF,
    "vignets": VIGNETS,
    "spread": SPREAD,
    "ngmix": NGMIX,
    "final_cat": FINAL_CAT,
}


def choose_products(names: Sequence[str]) -> tuple[str, ...]:
    """Return names of products in their order, each once; all of them for none.

    Raises
    ------
    ConfigError
        If there is no product of a name; the message names the nearest.
    """
    for name in names:
        if name not in PRODUCTS:
            raise ConfigError(f"there is no product {name!r}; {nearest(name, PRODUCTS)}")
    return tuple(name for name in PRODUCTS if name in names or not names)
