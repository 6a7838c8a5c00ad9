import pytest

from shapempi.kernels import _isa, _peak


@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("isa", _isa.available())
def test_every_chain_ends_at_its_fixed_point(isa, single):
    count, result = _peak.multiply_adds(1000, single=single, isa=isa)
    assert result == pytest.approx(12 * 0.5)
    places = {"portable": 2, "avx2": 4, "avx512": 8}[isa] * (2 if single else 1)
    assert count == 1000 * 12 * places


def test_one_round_is_one_multiply_add():
    start = sum(1 / (i + 1) for i in range(12))
    assert _peak.multiply_adds(0) == (0, pytest.approx(start))
    assert _peak.multiply_adds(1)[1] == pytest.approx(0.75 * start + 12 * 0.125)


def test_what_cannot_be_done_is_refused():
    with pytest.raises(ValueError, match="no instruction set"):
        _peak.multiply_adds(1, isa="mmx")
    with pytest.raises(ValueError, match="n_round is -1"):
        _peak.multiply_adds(-1)
