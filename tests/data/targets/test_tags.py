import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.core import checks
from keras_transfer.data.targets import tags

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), "uint8")
LABELS = [["red"], ["red", "round"], [], None, ["round"], ("red",)]


def test_texts_are_split():
    assert kt.data.split_tags(["a;b", " a ;", ";", "", None, float("nan")]) == [
        ["a", "b"], ["a"], [], None, None, None,
    ]  # fmt: skip
    assert kt.data.split_tags(["a|b"], separator="|") == [["a", "b"]]
    with pytest.raises(checks.InputError, match=r"texts such as 'red;round'.*3 at index 1"):
        kt.data.split_tags(["a", 3])


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (LABELS, True),
        (np.array(LABELS, object), True),
        (["red", "round"], False),
        ([[1.0], [2.0]], False),
        ([[], []], False),
        (np.array([["a"], ["b"]]), False),
        (3, False),
    ],
)
def test_what_tags_are(labels, expected):
    assert tags.reads(labels) is expected


def test_tags_become_rows_of_0_and_1_and_a_blank_is_missing():
    data = kt.data.from_arrays(PIXELS, LABELS, validation=None, batch_size=6)
    assert data.class_names == ["red", "round"]
    rows = [[1, 0], [1, 1], [0, 0], [0, 0], [0, 1], [1, 0]]
    assert data.targets["train"].tolist() == rows
    assert data.targets["train"].dtype == "float32"
    assert data.weights["train"].tolist() == [1, 1, 1, 0, 1, 1]
    lines = [line.split() for line in data.summary().splitlines()]
    assert lines[1:4] == [["red", "3"], ["round", "2"], ["missing", "1"]]


def test_held_out_tags_have_the_columns_of_the_training_tags():
    data = kt.data.from_arrays(
        PIXELS[:4], {"look": LABELS[:4]}, validation=(PIXELS[4:], {"look": [["round"], []]})
    )
    assert data.targets["validation"]["look"].tolist() == [[0, 1], [0, 0]]
    with pytest.raises(checks.InputError, match="'rond'.*Close names: 'round'"):
        kt.data.from_arrays(PIXELS[:4], LABELS[:4], validation=(PIXELS[4:], [["rond"], ["red"]]))


def test_every_tag_needs_a_training_image():
    with pytest.raises(checks.InputError, match="none of 'blue'"):
        kt.data.from_arrays(PIXELS, LABELS, class_names=["blue", "red", "round"], validation=None)
