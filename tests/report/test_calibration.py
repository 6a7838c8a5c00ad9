"""What is printed, drawn and written of a calibration."""

import json

import numpy as np
import pytest

from shapempi.calibration.estimate import CaseResult, Quantity
from shapempi.calibration.params import CalibrationParams, CaseParams
from shapempi.errors import ConfigError
from shapempi.report.calibration import chain_result, draw_biases, lines, write_result
from shapempi.report.shear import ShearBias

NAN = float("nan")


def make(name, **values):
    quantities = {"m": (3.4e-4, 1e-4), "m1": (NAN, NAN), "c1": (2.5e-4, 0.5e-4), "R11": (0.9, 0.01)}
    quantities.update(values)
    return CaseResult(name, 100, 99, 0.75, {k: Quantity(*v, np.zeros(10)) for k, v in quantities.items()})


PARAMS = CalibrationParams(
    cases=(CaseParams(name="faint"), CaseParams(name="masked", masked_fraction=0.1, reference="faint"))
)


def test_values_errors_and_what_is_outside():
    text = "\n".join(lines([make("faint", m_cut=(0.002, 1e-4), m_cut_bare=(-0.02, 1e-4))], PARAMS))
    assert "99/100" in text
    assert "+0.34 +- 0.10 " in text
    assert "+2.50 +- 0.50!" in text  # c1 is 2.5e-4, allowed is 1e-4 and two errors
    assert "-20.00 +- 0.10!" in text
    assert "75.0%" in text
    assert "nan" not in text


def test_a_change_names_its_reference():
    text = lines([make("faint"), make("masked", dm=(-5e-4, 1e-4))], PARAMS)
    row = text[text.index("change from another case, same galaxies and noise") + 2]
    assert row.split()[:3] == ["masked", "-", "faint"]
    assert "-0.500 +- 0.100" in row


def test_the_file_has_everything(tmp_path):
    path = tmp_path / "result.json"
    write_result([make("faint")], PARAMS, {"shapes": {"step": 0.01}}, path)
    content = json.loads(path.read_text())
    assert content["calibration"]["seed"] == PARAMS.seed
    assert content["settings"] == {"shapes": {"step": 0.01}}
    assert content["results"][0]["m"] == {"value": 3.4e-4, "error": 1e-4}
    assert content["results"][0]["m1"] == {"value": None, "error": None}
    assert {"shapempi", "numpy"} <= set(content["versions"])
    with pytest.raises(ConfigError, match="cannot be written"):
        write_result([], PARAMS, {}, tmp_path / "nowhere" / "result.json")


def test_a_picture_is_drawn(tmp_path):
    for number, results in enumerate(([make("faint"), make("stars", m=(NAN, NAN))], [])):
        path = tmp_path / f"{number}.png"
        draw_biases(results, PARAMS, path)
        assert path.read_bytes().startswith(b"\x89PNG")


def test_the_chain_is_a_case():
    bias = ShearBias(np.array([0.003, NAN]), np.array([0.001, NAN]), np.array([1e-4, 2e-4]), np.full(2, 1e-4), 312)
    result = chain_result(bias)
    assert result.n_used == 156
    assert result.quantities["m1"].value == 0.003
    assert "+3.00 +- 1.00" in "\n".join(lines([result], PARAMS))
