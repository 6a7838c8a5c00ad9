"""The .mask files that [MASK_RUNNER] names, spelled out as the keys of a table `mask`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from shapempi.convert.ini import Entry
from shapempi.convert.module_run import ModuleRun
from shapempi.convert.note import Assignment, Fate, Note
from shapempi.convert.value import path_of
from shapempi.errors import ConfigError
from shapempi.io.mask_config import MaskConfiguration, mask_keys, read_mask_configuration

__all__ = ["MASK_KEYS", "read_mask_file"]

_NATIVE = "polygons are drawn by shapempi itself, without WeightWatcher and without temporary files"
_SIZES = (
    "sizes in these catalogues are full axes; ShapePipe takes them for radii, and so masks twice as far: "
    "{key} = 1 + 2 times this value does the same"
)

#: Why keys have no counterpart.
_REASONS = {
    "WW_PATH": _NATIVE,
    "WW_CONFIG_FILE": f"{_NATIVE}; a weight that is not positive or not finite gets bit 1",
    "CDSCLIENT_PATH": "no client is asked during a run; `shapempi starcat` makes one catalogue of the survey's stars",
    "HALO_REG_FILE": 'no region file is needed; mask.output = ["regions"] writes one for DS9',
    "SPIKE_REG_FILE": 'no region file is needed; mask.output = ["regions"] writes one for DS9',
    "MESSIER_PIXEL_SCALE": "ShapePipe ignores it, too: the pixel scale is that of the WCS",
    "NGC_PIXEL_SCALE": "the pixel scale is that of the WCS",
    "EF_MAKE": "ShapePipe never reads it: USE_EXT_FLAG decides",
    "TEMP_DIRECTORY": "there are no temporary files",
    "KEEP_REG_FILE": 'mask.output = ["regions"] writes regions',
    "KEEP_INDIVIDUAL_MASK": "the bits of one plane tell the masks apart",
}

#: Where a key of the .mask file goes that is not itself a key of the table `mask`.
_ELSEWHERE = {
    "border_make": ("IMAGE.mask.border_width", "False is a width of 0"),
    "missing_make": ("IMAGE.mask.missing_remove", "False is missing_remove = false; MRATIO and MFLAG are always made"),
    "messier_catalogue": ("input.messier_catalogue", ""),
    "ngc_catalogue": ("input.ngc_catalogue", ""),
}

#: What there is to know about keys that are taken.
_REMARKS = {
    "BORDER_FLAG_VALUE": "ShapePipe always takes 4; shapempi takes what is written",
    "HALO_FLAG_VALUE": "bits are OR-ed; ShapePipe adds them",
    "MD_REMOVE": "ShapePipe has it the wrong way round; in shapempi a removed image costs its epochs and is named",
    "MESSIER_SIZE_PLUS": _SIZES.format(key="messier_size_plus"),
    "NGC_SIZE_PLUS": _SIZES.format(key="ngc_size_plus"),
    "HALO_MASKMODEL_PATH": "rotation and parity of the template are those of the WCS",
    "SPIKE_MASKMODEL_PATH": "rotation and parity of the template are those of the WCS; the scale never gets negative",
}


#: Keys that give one value together with another.
_TOGETHER = {"BORDER_WIDTH": "BORDER_MAKE, BORDER_WIDTH", "MD_REMOVE": "MD_MAKE, MD_REMOVE"}


def _keys() -> dict[str, tuple[str, str, str]]:
    """Return section, counterpart and remark of every key of a .mask file."""
    rows = {}
    for section, keys in mask_keys().items():
        for name, target in keys.items():
            if not target:
                rows[name] = (section, "", _REASONS[name])
            else:
                key, about = _ELSEWHERE.get(target, (f"IMAGE.mask.{target}", ""))
                rows[name] = (section, key, _REMARKS.get(name, about))
    return rows


#: Section, counterpart (empty for none) and remark of every key.
MASK_KEYS = _keys()


def read_mask_file(entry: Entry, run: ModuleRun) -> Iterator[Assignment | Note]:
    """Read the .mask file that a key names."""
    if not run.image:
        yield run.undecided(entry)
        return
    path = path_of(entry.value, run.environment)
    try:
        found = read_mask_configuration(path)
    except ConfigError as error:
        yield Note(
            Fate.FAILED, entry.where, str(entry), f"{error}; the masks of {run.image}s are not those of this file"
        )
        return
    yield Note(Fate.TAKEN, entry.where, str(entry), f"spelled out key by key: {run.image}.mask")
    targets = {
        key.replace("IMAGE", run.image): name for name, (_, key, _) in MASK_KEYS.items() if not name.endswith("_MAKE")
    }
    targets |= {f"{run.image}.mask.{kind}_make": f"{kind.upper()}_MAKE" for kind in ("halo", "spike", "messier", "ngc")}
    values = {f"{run.image}.mask.{name}": value for name, value in found.values.items()}
    catalogues = {"messier": found.messier_catalogue, "ngc": found.ngc_catalogue}
    values |= {f"input.{kind}_catalogue": str(path) for kind, path in catalogues.items() if path is not None}
    for key, value in values.items():
        name = targets[key]
        section, _, remark = MASK_KEYS[name]
        where = _place(found, name)
        what = f"[{section}] {_TOGETHER.get(name, name)}"
        if key.endswith(("_template", "_catalogue")) and not Path(value).is_file():
            yield Note(Fate.FAILED, where, what, f"there is no file {value}; put it there, or set {key}")
            continue
        changed = (
            name.endswith("_SIZE_PLUS")
            or (name == "MD_REMOVE" and value)
            or (name == "BORDER_FLAG_VALUE" and value != 4)
        )
        yield Assignment(key, value, where, what, remark if changed else "")
    for name in found.ignored:
        yield Note(Fate.WITHOUT, _place(found, name), f"[{MASK_KEYS[name][0]}] {name}", MASK_KEYS[name][2])


def _place(found: MaskConfiguration, name: str) -> str:
    """Return file and line of a key, or of the one that gives its value together with it."""
    lines = [found.lines[each] for each in (name, *_TOGETHER.get(name, "").split(", ")) if each in found.lines]
    return f"{found.path}:{lines[0]}" if lines else str(found.path)
