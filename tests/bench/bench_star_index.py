"""The index of bright stars beside a search of the whole table: `python tests/bench/bench_star_index.py [N]`."""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from shapempi.io.star_index import StarIndex, write_index
from shapempi.io.starcat import STAR_DTYPE
from shapempi.wcs import angular_distance

#: Circles that hold a CCD and the reach of the brightest stars, side by side.
PLACES = [(180.0 + 0.1 * (i % 10), 45.0 + 0.25 * (i // 10), 0.35) for i in range(40)]


def main():
    n, rng = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000, np.random.default_rng(1)
    stars = np.zeros(n, STAR_DTYPE)
    stars["ra"], stars["dec"] = rng.uniform(100, 280, n), np.degrees(np.arcsin(rng.uniform(0.5, 0.9, n)))
    stars["mag"] = rng.uniform(8, 18, n)
    with tempfile.TemporaryDirectory() as folder:
        path, took = Path(folder) / "stars.h5", []
        clock = time.process_time()
        write_index(path, stars)
        print(f"{n} stars: index made in {time.process_time() - clock:.1f} s, {path.stat().st_size / 2**20:.0f} MiB")
        index = StarIndex.open(path)
        for _ in range(2):
            clock = time.process_time()
            found = [index.near(*place) for place in PLACES]
            took.append(time.process_time() - clock)
        clock = time.process_time()
        inside = [
            np.flatnonzero(angular_distance(stars["ra"], stars["dec"], *place[:2]) <= place[2]) for place in PLACES[:3]
        ]
        search = (time.process_time() - clock) / 3
        assert all(np.isin(stars[rows], near).all() for rows, near in zip(inside, found[:3], strict=True))
    first, again = (each / len(PLACES) for each in took)
    print(f"a circle of 0.35 degrees: {1e3 * first:.2f} ms, {1e3 * again:.2f} ms when read before")
    print(f"the whole table searched: {1e3 * search:.0f} ms, {search / first:.0f} times as long")


if __name__ == "__main__":
    main()
