"""Every fault once, in a run of its own; docs/reliability.md has the long campaign."""

import json

import numpy as np
import pytest
from chain.conftest import reference, survey  # noqa: F401
from chain.program import verb
from chain.tiny import tables

from shapempi.selftest.campaign import Campaign, Finding, try_fault
from shapempi.selftest.faults import FAULTS


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.replace(" ", "-"))
def test_a_run_ends_by_itself_and_resumes_to_the_same_catalogue(survey, reference, tmp_path, fault):  # noqa: F811
    rng = np.random.default_rng([7, FAULTS.index(fault)])
    expected = tables(reference / "run" / "catalogue.h5")
    finding = try_fault(fault, survey, tmp_path / "trial", rng, (), expected)
    assert finding.problem == ""
    assert finding.n_fault > 0
    assert len(finding.codes) > 0


def test_all_kinds_of_faults_are_there():
    assert {fault.number for fault in FAULTS} == set(range(1, 19))


def test_a_campaign_in_words_and_numbers():
    good = Finding(2, "SIGSEGV in a unit", 3, (0, 0), 12.0, "")
    bad = Finding(5, "SIGKILL of a rank", 1, (9, 1), 20.0, "a run did not end within 120 s")
    campaign = Campaign("MPICH", ("--with-ft", "ulfm"), [good, good, bad])
    assert campaign.n_problem == 1
    lines = campaign.lines()
    assert lines[0] == "MPICH --with-ft ulfm"
    assert "| 2 | SIGSEGV in a unit | 2 | 6 | 4 | 2 of 2 | 12 |" in lines
    assert "3 trials, 7 faults, 2 as promised" in lines
    assert "  SIGKILL of a rank: a run did not end within 120 s" in lines
    assert json.loads(json.dumps(campaign.as_dict()))["findings"][2]["codes"] == [9, 1]


def test_wrong_arguments(tmp_path):
    (tmp_path / "something").write_text("here")
    assert verb(tmp_path, "selftest", "faults", "--trials", "0").code == 2
    result = verb(tmp_path, "selftest", "faults", "--folder", str(tmp_path))
    assert result.code == 2
    assert "the folder is not empty" in result.err
