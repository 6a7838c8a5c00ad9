"""`python -m shapempi` is the same as the command `shapempi`."""

from shapempi.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
