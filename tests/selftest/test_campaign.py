"""A short campaign of faults; docs/reliability.md has the long one."""

import json

import pytest
from chain.program import verb

from shapempi.selftest.campaign import run_campaign
from shapempi.selftest.faults import FAULTS


@pytest.mark.timeout(900)
def test_every_fault_once(tmp_path):
    campaign = run_campaign(tmp_path / "trials", n_trial=1, seed=7)
    assert campaign.n_problem == 0, "\n".join(campaign.lines())
    assert len(campaign.findings) == len(FAULTS)
    assert {finding.number for finding in campaign.findings} == set(range(1, 19))
    assert sum(finding.n_fault for finding in campaign.findings) >= len(FAULTS)
    json.dumps(campaign.as_dict())


def test_wrong_arguments(tmp_path):
    (tmp_path / "something").write_text("here")
    assert verb(tmp_path, "selftest", "faults", "--trials", "0").code == 2
    result = verb(tmp_path, "selftest", "faults", "--folder", str(tmp_path))
    assert result.code == 2
    assert "the folder is not empty" in result.err
