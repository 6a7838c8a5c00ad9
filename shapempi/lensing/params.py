"""All parameters of a shear analysis."""

from __future__ import annotations

from shapempi.lensing.bins import BinParams
from shapempi.lensing.correlation import CorrelationParams
from shapempi.lensing.cuts import CutParams
from shapempi.lensing.patches import PatchParams
from shapempi.lensing.tangential import TangentialParams
from shapempi.params import Params, key

__all__ = ["ShearParams"]


class ShearParams(Params):
    """How shear is calibrated and looked at (`shapempi shear`); nothing of it changes a catalogue."""

    seed: int = key(1, "Seed of the patches and of whatever is drawn at random.", ge=0)
    cuts: CutParams = CutParams()
    bins: BinParams = BinParams()
    patches: PatchParams = PatchParams()
    correlation: CorrelationParams = CorrelationParams()
    tangential: TangentialParams = TangentialParams()
