"""`shapempi export --format legacy`: its options, and what it prints."""

from __future__ import annotations

import argparse
import sys

from shapempi.errors import ConfigError, ShapempiError
from shapempi.legacy.export import Exported, LegacyRequest, export_legacy
from shapempi.legacy.products import PRODUCTS, choose_products
from shapempi.mpi.comm import connect

__all__ = ["add_legacy_options", "export_tree", "refuse_legacy_options"]

#: Options of this format with the values that they have when they are not given.
_OPTIONS = {"products": None, "tile": None, "exposure": None, "psf_data": False}


def add_legacy_options(verb: argparse.ArgumentParser) -> None:
    """Declare the options of this format."""
    group = verb.add_argument_group("with --format legacy (also under mpirun)")
    group.add_argument("--products", metavar="NAME,...", help=f"what is written, all by default: {', '.join(PRODUCTS)}")
    group.add_argument("--tile", nargs="+", metavar="XXX.YYY", help="only these tiles and their CCDs")
    group.add_argument("--exposure", nargs="+", metavar="N", help="only CCDs of these exposures, no tiles but --tile")
    group.add_argument(
        "--psf-data", action="store_true", help="the PSF of every epoch in final_cat: PSF_ELL_k, PSF_FWHM_k, PSF_FLAG_k"
    )


def refuse_legacy_options(options: argparse.Namespace) -> None:
    """Raise ConfigError if an option of this format is given with another one."""
    for name, unset in _OPTIONS.items():
        if getattr(options, name) != unset:
            raise ConfigError(f"--{name.replace('_', '-')} is for --format legacy")


def export_tree(options: argparse.Namespace) -> int:
    """Write the products of a run as the reference system leaves them."""
    failure: ShapempiError | None = None
    result: Exported | None = None
    request: LegacyRequest | None = None
    with connect() as comm:
        try:
            if comm.rank == 0:
                request = _request(options)
        except ShapempiError as error:
            failure = error
        request = comm.share(request)
        if request is not None:
            try:
                result = export_legacy(request, comm=comm)
            except ShapempiError as error:
                failure = error
            except KeyboardInterrupt:
                if comm.size > 1:
                    raise  # the others must end, too
                print(f"shapempi: interrupted; {_LEFT}", file=sys.stderr)
                return 130
    if failure is not None:
        raise failure  # on rank 0 only: one message
    return 0 if result is None or request is None else _say(result, request)


#: What can be done about the rest.
_LEFT = "files that are there are complete; name the tiles or exposures that are left, or give --overwrite"


def _request(options: argparse.Namespace) -> LegacyRequest:
    """Return what the command line asks for."""
    if options.grammar != "native":
        raise ConfigError(f"--grammar {options.grammar} is for --format fits: legacy products have their own names")
    if options.vignets:
        raise ConfigError("--vignets is for --format ldac: legacy catalogues of detections have them")
    names = [name.strip() for name in (options.products or "").split(",") if name.strip()]
    if options.products is not None and not names:
        raise ConfigError(f"--products names nothing; products are {', '.join(PRODUCTS)}")
    return LegacyRequest(
        run=options.run,
        output=options.output or options.run / "legacy",
        products=choose_products(names),
        tiles=tuple(options.tile or ()),
        exposures=tuple(options.exposure or ()),
        named=bool(names),
        psf_data=options.psf_data,
        overwrite=options.overwrite,
    )


def _say(result: Exported, request: LegacyRequest) -> int:
    """Print what was written and what was not; returns the exit code."""
    print(f"{request.output}:")
    for name in request.products:
        if name in result.n_file or name in result.n_lacking:
            remarks = ((result.n_lacking, PRODUCTS[name].lack), (result.n_noted, PRODUCTS[name].note))
            texts = [f"; CCDs that {text}: {counts[name]}" for counts, text in remarks if name in counts]
            print(f"  {name}: {result.n_file.get(name, 0)} files{''.join(texts)}")
    for text in result.failed:
        print(f"shapempi: not written: {text}", file=sys.stderr)
    if not result.complete:
        print(f"shapempi: asked to end; {_LEFT}", file=sys.stderr)
        return 10
    return 1 if result.failed else 0
