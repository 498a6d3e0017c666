import pytest

import keras_transfer as kt
from keras_transfer.machine import tpu_topologies


@pytest.mark.parametrize(
    ("name", "sides"),
    [("v5e-1", (1, 1)), ("v5e-4", (2, 2)), ("v5e:2x4", (2, 4)), ("v6e-64", (8, 8))],
)
def test_a_slice_is_named_by_its_chips_or_by_their_arrangement(name, sides):
    assert tpu_topologies.find(name).sides == sides


@pytest.mark.parametrize("name", ["tpu", "v5e", "v5e-3", "v5e:3x3", "v9-4", "v5e-1 ", 4, None])
def test_what_is_no_slice_is_told_in_one_line(name):
    with pytest.raises(kt.InputError, match="`topology` must be"):
        tpu_topologies.find(name)


def test_the_exchange_grows_with_the_bytes_and_hardly_with_the_chips():
    """Of a ring of n chips each sends 2 (n - 1) / n times the bytes: 1 time for two, at most 2 times."""
    four, many = tpu_topologies.find("v5e-4"), tpu_topologies.find("v5e-256")
    assert four.exchange_seconds(200e9) == 1.5
    assert 1.9 < many.exchange_seconds(200e9) < 2
