"""All parameters of a validation."""

from __future__ import annotations

from shapempi.params import Params
from shapempi.validation.focal_plane import LayoutParams
from shapempi.validation.maps import MapParams
from shapempi.validation.requirements import RequirementParams
from shapempi.validation.residuals import SampleParams
from shapempi.validation.rho import RhoParams
from shapempi.validation.trends import TrendParams

__all__ = ["ValidationParams"]


class ValidationParams(Params):
    """How PSF models are compared with held-back stars."""

    sample: SampleParams = SampleParams()
    layout: LayoutParams = LayoutParams()
    maps: MapParams = MapParams()
    trends: TrendParams = TrendParams()
    rho: RhoParams = RhoParams()
    requirements: RequirementParams = RequirementParams()
