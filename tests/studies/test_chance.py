import pytest

from keras_transfer.studies.chance import Measured, largest_difference, pass_by
from keras_transfer.studies.scores import Score

ACCURACY = Score("accuracy", "accuracy", True, True)
ERROR = Score("mae", "mean error", False, False)


@pytest.mark.parametrize(
    ("values", "bounds", "expected"),
    [
        ((0.9, 0.5), ((0.6, 0.92), (0.45, 0.9)), 0.5),
        ((2.0, 5.0), ((1.0, 5.0), (1.0, 5.5)), 5.0),
        ((0.9, 0.5), (None, (0.45, 0.9)), 0.0),
    ],
)
def test_a_difference_is_of_the_sides_that_face_each_other(values, bounds, expected):
    """0.3 and 0.4, 3 and 4: the long sides of a triangle."""
    one, other = map(Measured, values, bounds)
    assert largest_difference(one, other) == pytest.approx(expected)


def around(value, half):
    return Measured(value, (value - half, value + half))


@pytest.mark.parametrize(
    ("found", "order"),
    [
        ({"a": (0.70, 0.05), "b": (0.76, 0.05), "c": (0.60, 0.05)}, "abc"),  # 0.06 < 0.071
        ({"a": (0.70, 0.05), "b": (0.78, 0.05), "c": (0.60, 0.05)}, "bac"),
        ({"a": (0.70, 0.05), "b": (0.76, 0.05), "c": (0.78, 0.05)}, "abc"),  # not before b, so not before a
        ({"a": (0.70, 0.05), "b": (0.60, 0.05), "c": (0.76, 0.05)}, "acb"),
        ({"a": (0.70, 0.0), "b": (0.70, 0.0), "c": (0.71, 0.0)}, "cab"),
    ],
)  # fmt: skip
def test_one_passes_those_that_it_beats_by_more_than_chance(found, order):
    measured = {name: around(*values) for name, values in found.items()}
    assert "".join(pass_by("abc", ACCURACY, measured.get)) == order
    errors = {name: around(1 - value, half) for name, (value, half) in found.items()}
    assert "".join(pass_by("abc", ERROR, errors.get)) == order
