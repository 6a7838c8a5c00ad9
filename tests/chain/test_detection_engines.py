"""source-extractor in the whole chain: the same bits for any ranks, files on request, and what goes wrong with it."""

import shutil

import fitsio
import h5py
import numpy as np
from chain.program import shapempi, verb
from chain.tiny import CCDS, EXPOSURES, TILE, committed, differences, last_job, place

from shapempi.io.catalog import read_table
from shapempi.io.ldac import read_ldac
from shapempi.io.parts import PartReader, scan
from shapempi.measure.background import BackgroundMesh

ENGINE = (
    "[psf.acceptance]",
    '[exposure]\noutput = ["vignets", "background"]\nvignet_size = 21\n'
    '[exposure.detection]\nengine = "source-extractor"\nprogram = {{ {program} }}\n'
    '[tile]\noutput = ["catalogue"]\n[tile.detection]\nengine = "source-extractor"\nprogram = {{ {program} }}\n'
    "[psf.acceptance]",
)


def configured(survey, folder, program=""):
    return place(survey, folder, (ENGINE[0], ENGINE[1].format(program=program)))


def files(folder):
    return {path.name: path.read_bytes() for path in sorted((folder / "run" / "detections").iterdir())}


def product(folder, uid, names=None):
    (place,) = (found for name, found in scan(folder / "run").locations.items() if name.partition("~")[0] == uid)
    return PartReader(folder / "run").read(place, names=names)


def test_the_chain_with_source_extractor(survey, reference, tmp_path_factory):
    folders = []
    for n_rank in (None, 3):
        folder = configured(survey, tmp_path_factory.mktemp("program"), 'parameters = "mine.param"')
        (folder / "mine.param").write_text("MAG_ISO\n")
        result = shapempi(folder, "run", "chain.toml", n_rank=n_rank)
        assert result.code == 0, result
        assert verb(folder, "gather", "run").code == 0
        folders.append(folder)
    alone, crew = folders
    assert differences(crew, alone) == []
    assert files(crew) == files(alone)

    # The same objects as the engine in process finds, measured in the same way.
    ours, theirs = (read_table(folder / "run" / "catalogue.h5") for folder in (reference, crew))
    distance = np.hypot(
        ours["XWIN_IMAGE"][:, None] - theirs["XWIN_IMAGE"], ours["YWIN_IMAGE"][:, None] - theirs["YWIN_IMAGE"]
    )
    bright = theirs["SNR_WIN"] > 15
    assert np.mean(distance.min(axis=0)[bright] < 0.5) > 0.9
    same = ours[distance.argmin(axis=0)]
    near = bright & (distance.min(axis=0) < 0.5)
    assert abs(np.median(same["MAG_AUTO"][near] - theirs["MAG_AUTO"][near])) < 0.02
    both = near & np.isfinite(same["g1_noshear"]) & np.isfinite(theirs["g1_noshear"])
    assert both.sum() > 15
    assert np.median(np.abs(same["g1_noshear"][both] - theirs["g1_noshear"][both])) < 0.02

    for uid in (*CCDS, TILE):
        assert str(product(crew, uid, ()).attrs["detection_engine"]).startswith("source-extractor 2.")
        assert str(product(reference, uid, ()).attrs["detection_engine"]).startswith("sep ")

    status = read_table(crew / "run" / "catalogue.h5", "psf_status")
    assert all(row["detection"].startswith(b"source-extractor 2.") for row in status)
    with h5py.File(crew / "run" / "catalogue.h5") as file:
        assert file.attrs["detection_engine"].startswith("source-extractor 2.")

    # The files on request.
    numbers = {f"-{uid.removeprefix('ccd:')}" for uid in CCDS}
    names = {f"{kind}{number}.fits" for kind in ("sexcat", "background") for number in numbers}
    assert set(files(crew)) == names | {"sexcat-241-293.fits"}
    ccd = f"{EXPOSURES[0]}-21"
    head, table = read_ldac(crew / "run" / "detections" / f"sexcat-{ccd}.fits")
    assert {"VIGNET", "MAG_ISO", "XWIN_WORLD"} <= set(table.dtype.names) and table["VIGNET"].shape[1:] == (21, 21)
    assert len(table) == product(crew, f"ccd:{ccd}", ()).attrs["n_detection"] and "CTYPE1" in head
    image = fitsio.read(crew / "run" / "detections" / f"background-{ccd}.fits")
    mesh = BackgroundMesh.from_product(product(crew, f"ccd:{ccd}"))
    assert np.array_equal(image, mesh.evaluate(0, image.shape[0], 0, image.shape[1]))
    _, tile = read_ldac(crew / "run" / "detections" / "sexcat-241-293.fits")
    assert len(tile) == len(theirs) and "VIGNET" not in tile.dtype.names

    # A file of the user's decides the catalogue like a key: changed, it belongs to another run.
    (crew / "mine.param").write_text("MAG_ISO\nISO0\n")
    result = shapempi(crew, "run", "chain.toml")
    assert result.code == 2 and "another configuration" in result.err


def test_a_program_that_is_not_there_is_said_before_anything_is_done(survey, tmp_path):
    folder = configured(survey, tmp_path, 'program = "no-sex"')
    result = shapempi(folder, "run", "chain.toml", n_rank=2)
    assert result.code == 2
    (line,) = result.complaints
    assert "no-sex (exposure.detection.program.program) is not there" in line
    assert "apt install source-extractor" in line and "conda-forge astromatic-source-extractor" in line
    assert not (folder / "run").exists()


def test_a_program_that_fails_or_hangs_costs_the_units_that_need_it(survey, tmp_path):
    program = tmp_path / "sex"
    real = next(filter(None, map(shutil.which, ("source-extractor", "sex", "sextractor"))))
    cases = "grep -q ccd21 measure_image.fits && exit 7\ngrep -q ccd22 measure_image.fits && sleep 60"
    program.write_text(f'#!/bin/sh\nif [ -f measure_image.fits ]; then\n{cases}\nfi\nexec {real} "$@"\n')
    program.chmod(0o755)
    folder = configured(survey, tmp_path, f'program = "{program}", timeout = 10.0')
    result = shapempi(folder, "run", "chain.toml", n_rank=3)
    assert result.code == 1, result
    failed = {uid: outcome for uid, outcome in last_job(folder).items() if outcome["state"] != "done"}
    assert set(failed) == {CCDS[0], CCDS[1]}
    assert {outcome["error"] for outcome in failed.values()} == {"EngineError"}
    assert "source-extractor ended with code 7: it said nothing" in failed[CCDS[0]]["reason"]
    assert "has not ended after 10 s" in failed[CCDS[1]]["reason"]
    assert {CCDS[2], CCDS[3], TILE} <= {name.partition("~")[0] for name in committed(folder)}


def test_zero_point_and_background_of_a_tile_are_its_headers(survey, reference, tmp_path):
    change = ("[run]\n", '[input.keywords]\ntile_background = "SKYLEVEL"\n[run]\n')
    folder = place(survey, tmp_path, change)
    (link,) = (folder / "survey" / "tiles").glob("CFIS.241.293.r.fits")
    with fitsio.FITS(str(link)) as file:
        data, head = file[0].read(), file[0].read_header()
    head["PHOTZP"], head["SKYLEVEL"] = 29.0, 500.0
    link.unlink()
    fitsio.write(link, data + np.float32(500.0), header=head)
    result = shapempi(folder, "run", "chain.toml", n_rank=2)
    assert result.code == 0, result
    assert verb(folder, "gather", "run").code == 0
    ours, theirs = (read_table(f / "run" / "catalogue.h5") for f in (folder, reference))
    assert len(ours) == len(theirs)
    np.testing.assert_allclose(ours["MAG_AUTO"], theirs["MAG_AUTO"] - 1.0, atol=2e-3)
    assert np.all(ours["BACKGROUND"] == 500.0)
