"""A signpost: the build is described by pyproject.toml and meson.build."""

import sys

sys.exit("shapempi is built by meson-python; run `pip install .` (see README.md) instead of `python setup.py`.")
