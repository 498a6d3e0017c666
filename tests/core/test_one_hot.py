import numpy as np
import pytest

from keras_transfer.core import one_hot


@pytest.mark.parametrize("kind", [int, float, bool, "uint8"])
def test_rows_with_a_single_one_are_classes(kind):
    rows = np.eye(3)[[2, 0, 1]].astype(kind)
    assert one_hot.class_ids(rows).tolist() == [2, 0, 1]
    assert one_hot.class_ids(rows.tolist(), classes=3).tolist() == [2, 0, 1]


@pytest.mark.parametrize(
    "rows",
    [
        [[1, 0], [1, 1]],
        [[0, 0], [1, 0]],
        [[0.5, 0.5]],
        [[1, np.nan]],
        [[1], [1]],
        [1, 0],
        [["a", "b"]],
        [[1, 0], [1]],
        [],
    ],
    ids=str,
)
def test_other_rows_are_not(rows):
    assert one_hot.class_ids(rows) is None


def test_the_number_of_classes_must_agree():
    assert one_hot.class_ids(np.eye(3), classes=4) is None
