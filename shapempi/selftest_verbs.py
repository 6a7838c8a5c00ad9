"""What the verbs `selftest` and `ledger` do: print, and return the exit code."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tempfile
from pathlib import Path

from shapempi.errors import ConfigError
from shapempi.gather import read_plan
from shapempi.io.ledger import Ledger
from shapempi.selftest.campaign import run_campaign

__all__ = ["faults", "ledger_rebuild", "ledger_show"]


def faults(options: argparse.Namespace) -> int:
    """Make faults on purpose, and judge what becomes of the runs."""
    if options.trials < 1:
        raise ConfigError(f"--trials must be at least 1, not {options.trials}")
    folder = options.folder
    if folder is not None and folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"--folder {folder}: the folder is not empty; name a new one")
    with tempfile.TemporaryDirectory(prefix="shapempi-selftest-") as private:
        campaign = run_campaign(
            folder or Path(private),
            n_trial=options.trials,
            seed=options.seed,
            numbers=tuple(options.fault or ()),
            options=shlex.split(options.launcher_options),
            report=lambda line: print(line, file=sys.stderr, flush=True),
        )
    print("\n".join(campaign.lines()))
    if options.json is not None:
        options.json.write_text(json.dumps(campaign.as_dict(), indent=1) + "\n", encoding="utf-8")
    return 1 if campaign.n_problem else 0


def ledger_show(options: argparse.Namespace) -> int:
    """Say what is committed."""
    read_plan(options.run)  # says so if this is no run
    return _tell(Ledger.read(options.run))


def ledger_rebuild(options: argparse.Namespace) -> int:
    """Read and verify all part files, and write the ledger anew."""
    read_plan(options.run)
    ledger = Ledger.read(options.run, rebuild=True, deep=True)
    ledger.write()
    return _tell(ledger)


def _tell(ledger: Ledger) -> int:
    """Print numbers and damage; 1 if there is any."""
    counts: dict[str, int] = {}
    for name in ledger.locations:
        kind = name.partition(":")[0]
        counts[kind] = counts.get(kind, 0) + 1
    units = ", ".join(f"{n} {kind}" for kind, n in counts.items()) or "nothing"
    print(f"{ledger.folder}: {units} committed in {ledger.n_file} part files")
    for text in ledger.damaged:
        print(f"shapempi: damaged: {text}", file=sys.stderr)
    return 1 if ledger.damaged else 0
