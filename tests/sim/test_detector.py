"""The camera: noise and weights agree, flags mean what they say, noise does not follow the shear."""

from __future__ import annotations

import numpy as np
import pytest
from sim.tiny_sky import tiny_params

from shapempi.ids import CcdId
from shapempi.sim.detector import Defect, read_out
from shapempi.sim.draw import draw_ccd, sky_sigma
from shapempi.sim.plan import ccd_shape, datasec, plan_survey
from shapempi.sim.scene import make_scene

CCD = CcdId(2243881, 22)
CLEAN = {"cosmic_density": 0.0, "bad_columns": 0.0}


def area(params, plane):
    y0, y1, x0, x1 = datasec(params.camera)
    return plane[y0:y1, x0:x1]


def test_empty_pixels_have_the_variance_of_the_weight():
    params = tiny_params(defects=CLEAN, pointing={"sky_residual": 0.0})
    out = read_out(np.zeros(ccd_shape(params.camera)), CCD, params)
    pulls = area(params, out.data) * np.sqrt(area(params, out.weight))
    assert np.mean(pulls) == pytest.approx(0, abs=0.02)
    assert np.std(pulls) == pytest.approx(1, abs=0.015)
    # Sky photons and read noise in ADU.
    assert sky_sigma(params) ** 2 == pytest.approx(980 / 1.6 + (4.5 / 1.6) ** 2)


def test_light_has_its_own_noise():
    params = tiny_params(defects=CLEAN, pointing={"sky_residual": 0.0})
    out = read_out(np.full(ccd_shape(params.camera), 5000.0), CCD, params)
    assert np.var(area(params, out.data)) == pytest.approx(sky_sigma(params) ** 2 + 5000 / 1.6, rel=0.02)


def test_outside_the_imaging_area_there_is_nothing():
    params = tiny_params()
    out = read_out(np.zeros(ccd_shape(params.camera)), CCD, params)
    outside = np.ones(out.data.shape, bool)
    area(params, outside)[:] = False
    assert (out.data[outside] == 0).all() and (out.weight[outside] == 0).all()
    assert (out.flag[outside] == Defect.BAD).all()
    assert (out.data.dtype, out.weight.dtype, out.flag.dtype) == (np.float32, np.float32, np.int16)


def test_defects_are_flagged_and_have_no_weight():
    params = tiny_params(defects={"cosmic_density": 400.0, "bad_columns": 4.0})
    out = read_out(np.zeros(ccd_shape(params.camera)), CCD, params)
    assert ((out.weight == 0) == (out.flag != 0)).all()
    rays = (out.flag & Defect.COSMIC_RAY) != 0
    assert 10 < np.count_nonzero(rays) < 1000
    assert np.median(out.data[rays]) > 3 * sky_sigma(params)
    columns = (area(params, out.flag) & Defect.BAD) != 0
    assert 0 < np.count_nonzero(columns.any(axis=0)) < 15
    clean = out.data[out.flag == 0]
    assert np.abs(clean).max() < 8 * sky_sigma(params)


def test_bad_columns_stay_and_cosmic_rays_move():
    params = tiny_params(defects={"cosmic_density": 400.0, "bad_columns": 4.0})
    model = np.zeros(ccd_shape(params.camera))
    first, second = (read_out(model, CcdId(number, 22), params).flag for number in (2243881, 2243882))
    np.testing.assert_array_equal(first & Defect.BAD, second & Defect.BAD)
    assert ((first & Defect.COSMIC_RAY) != (second & Defect.COSMIC_RAY)).any()


def test_charge_above_the_full_well_runs_along_the_column():
    params = tiny_params(defects=CLEAN)
    model = np.zeros(ccd_shape(params.camera))
    model[120:125, 100] = 500000.0
    out = read_out(model, CCD, params)
    saturated = (out.flag & Defect.SATURATED) != 0
    assert set(np.flatnonzero(saturated.any(axis=0))) == {100}
    # 2.5 million ADU fill 40 pixels.
    assert np.count_nonzero(saturated) == pytest.approx(2.5e6 / 63240, abs=3)
    assert (out.data[saturated] >= params.camera.saturation).all()
    still = read_out(model, CCD, tiny_params(defects=CLEAN, stars={"bleed": False}))
    assert np.count_nonzero(still.flag & Defect.SATURATED) == 5


def test_noise_does_not_depend_on_the_shear_but_on_the_noise_seed():
    images = {}
    for g1, seed in ((0.05, 6), (-0.05, 6), (0.05, 7)):
        params = tiny_params(g1=g1, noise_seed=seed)
        plan = plan_survey(params)
        exposure = plan.exposures[0]
        model = draw_ccd(make_scene(plan, params), exposure, exposure.ccds[22], params)
        images[g1, seed] = model, read_out(model, CCD, params)
    (model_a, a), (model_b, b) = images[0.05, 6], images[-0.05, 6]
    same = model_a == model_b
    assert np.count_nonzero(same) > 0.3 * same.size
    assert np.count_nonzero(~same) > 1000
    np.testing.assert_array_equal(a.data[same], b.data[same])
    np.testing.assert_array_equal(a.flag, b.flag)
    # Where the light differs, only the light and its own photon noise do.
    change = area(params, (a.data - b.data) - (model_a - model_b))[area(params, a.flag) == 0]
    assert np.std(change) < 0.1 * sky_sigma(params)
    assert np.std(area(params, a.data - images[0.05, 7][1].data)) > sky_sigma(params)
