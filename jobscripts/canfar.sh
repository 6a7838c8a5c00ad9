#!/bin/bash
# One shapempi run: CANFAR, a headless container per block of tiles.
# Give every container a configuration with its own block of tiles and its own run folder on /arc, this script with
# its names, and as many cores as RANKS. A container that was ended goes on where it stopped when it is started again.
# EDIT: `shapempi jobscript CONFIG --site NAME` fills in names, nodes and time from the survey's plan.

set -u

CONFIG=survey.toml
RUN=run
RANKS=${RANKS:-16}

export PATH="$HOME"/shapempi-venv/bin:"$PATH"    # EDIT: where `pip install` put shapempi
export PYTHONSAFEPATH=1             # import the installed package, whatever folder the job starts in
export OMP_NUM_THREADS=1            # one thread per rank
export HDF5_USE_FILE_LOCKING=FALSE  # part files have one writer each; locks fail on many shared file systems

# Temporary files in a folder of this run's own.
TMPDIR=$(mktemp -d /scratch/shapempi-XXXXXX) || exit 4
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT

# USR1 comes before the time limit: the ranks finish what they are at and start no more.  `wait` returns at every
# signal that is trapped, so it is called until the launcher has ended.
pid=
trap '[ -z "$pid" ] || kill -USR1 "$pid" 2>/dev/null' USR1
trap '[ -z "$pid" ] || kill -TERM "$pid" 2>/dev/null' TERM INT
mpiexec -n "$RANKS" shapempi run "$CONFIG" &
pid=$!
while :; do
    wait "$pid"
    code=$?
    kill -0 "$pid" 2>/dev/null || break
done
pid=

# The launcher's exit code says little after a lost rank; the run folder knows what is done.  A run that could not
# begin has none.
[ -d "$RUN" ] || exit "$((code == 0 ? 4 : code))"
shapempi status "$RUN" --exit-code
verdict=$?

if [ "$verdict" -eq 0 ]; then
    shapempi gather "$RUN" && shapempi report "$RUN"
    exit
fi
[ "$verdict" -ne 10 ] || echo "$0: work is left; the same command goes on" >&2
exit "$verdict"
