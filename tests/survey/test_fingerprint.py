"""Files that were replaced are noticed."""

from shapempi.survey.fingerprint import changed_files


def test_only_what_looks_otherwise_has_changed():
    before = {"a": [10, 1], "b": [20, 2], "gone": [1, 1]}
    assert changed_files(before, {"a": (10, 1), "b": (20, 2), "new": (5, 5)}) == []
    assert changed_files(before, {"a": (11, 1), "b": (20, 3)}) == ["a", "b"]
