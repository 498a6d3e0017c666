import numpy as np
import pytest

from keras_transfer.core import checks
from keras_transfer.data.targets import encoding


def encode(labels, **options):
    """The targets and the names of labels of which none is blank."""
    targets, names, present = encoding.read(labels, **options)
    assert present is None
    return targets, names


def test_strings_are_sorted_into_ids():
    ids, names = encode(np.array(["dog", "ant", "cat", "ant"], object))
    np.testing.assert_array_equal(ids, [2, 0, 1, 0])
    assert ids.dtype == np.int64
    assert names == ["ant", "cat", "dog"]


def test_given_names_set_the_order():
    ids, names = encode(["b", "a"], class_names=["b", "a", "c"])
    np.testing.assert_array_equal(ids, [0, 1])
    assert names == ["b", "a", "c"]


def test_integers_get_their_own_names():
    ids, names = encode(np.array([[1], [0], [2]], np.uint8))
    np.testing.assert_array_equal(ids, [1, 0, 2])
    assert names == ["0", "1", "2"]
    assert encode([1, 0, 1], class_names=("no", "yes"))[1] == ["no", "yes"]


def test_floats_are_numbers():
    numbers, names = encode([1.5, 2.0])
    assert names is None
    assert numbers.dtype == np.float32
    np.testing.assert_array_equal(numbers, [1.5, 2.0])
    assert encode(np.zeros((4, 2)))[0].shape == (4, 2)


def test_a_dict_is_encoded_entry_by_entry():
    targets, names = encode({"kind": ["b", "a"], "age": [1.0, 2.0]})
    np.testing.assert_array_equal(targets["kind"], [1, 0])
    assert names == {"kind": ["a", "b"]}
    more, again = encode({"age": [3, 4], "kind": ["a", "a"]}, class_names=names, like=targets)
    np.testing.assert_array_equal(more["age"], np.float32([3, 4]))
    np.testing.assert_array_equal(more["kind"], [0, 0])
    assert again == names
    assert encode({"age": [1.0]})[1] is None


BAD = {
    "out of range": (
        ([0, 7], ["a", "b"]),
        r"`labels` must lie in \[0, 2\)\. Given: 7 at index 1\.",
    ),
    "negative": (([0, -1, 1], None), "Given: -1 at index 1"),
    "gap": (([0, 2], None), "without 1. Use strings"),
    "ages as integers": (([30, 41], None), "floats for numbers"),
    "one class": ((["a", "a"], None), "at least two classes. Given: only 'a'"),
    "one id": (([0, 0], None), "at least two classes"),
    "float class ids": (
        ([0.0, 1.0], ["a", "b"]),
        r"Class ids are integers: use `labels.astype\(int\)`",
    ),
    "unknown name": (
        (["cat", "dgo"], ["cat", "dog"]),
        r"Given: 'dgo' at index 1. Close names: 'dog'",
    ),
    "objects": ((np.array([{}, None], object), None), "dtype object"),
    "ragged": (([[1], [1, 2]], None), "must be an array"),
    "rows of whole numbers": ((2 * np.eye(3, dtype=int), None), "a single 1 each"),
    "more columns than names": ((np.eye(3), ["a", "b"]), "lie in"),
    "infinite": (([1.0, np.inf], None), "must be finite. Given: inf at index 1"),
    "empty": (([], None), "one label for each image"),
    "names twice": (([0, 1], ["a", "a"]), "'a' more than once"),
    "one name": (([0, 0], ["a"]), "at least two classes"),
    "name is a string": (([0, 1], "ab"), "must be a list of strings"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_labels_are_refused(case):
    (values, names), message = BAD[case]
    with pytest.raises(checks.InputError, match=message) as caught:
        encode(values, class_names=names)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "like"),
    [
        ({"a": [0, 1]}, {"b": np.zeros(2)}),
        ([0, 1], {"b": np.zeros(2)}),
        ({"a": [0, 1]}, np.zeros(2)),
        ({}, None),
    ],
)
def test_entries_must_be_those_of_training(values, like):
    with pytest.raises(checks.InputError, match="`validation` must"):
        encode(values, like=like, name="validation")


def test_names_of_unknown_entries_are_refused():
    with pytest.raises(checks.InputError, match="keys of the labels"):
        encode({"a": [0, 1]}, class_names={"b": ["x", "y"]})


def test_every_class_needs_a_training_image():
    with pytest.raises(checks.InputError, match=r"none of 'b'\. Add some"):
        encoding.check_present(
            {"kind": np.array([0, 2]), "age": np.zeros(2)},
            {"kind": ["a", "b", "c"]},
            fix="Add some.",
        )
    encoding.check_present(np.array([0, 1]), ["a", "b"], fix="")
    assert encoding.absent(np.array([1, 1]), ["a", "b", "c"]) == ["a", "c"]


@pytest.mark.parametrize("kind", ["int64", "float32", "bool"])
def test_one_hot_rows_are_classes(kind):
    rows = np.eye(3)[[2, 0, 1, 2]].astype(kind)
    targets, names, _ = encoding.read(rows)
    assert targets.tolist() == [2, 0, 1, 2]
    assert names == ["0", "1", "2"]
    assert encoding.read(rows, class_names=["a", "b", "c"])[1] == ["a", "b", "c"]
    assert encoding.read(rows, like=np.zeros((4, 3), "float32"))[0].shape == (4, 3)


def test_a_class_without_an_image_is_still_a_column():
    assert encoding.read(np.eye(3)[[0, 2, 2]])[1] == ["0", "1", "2"]


IDS = np.arange(16).reshape(2, 2, 4) % 3
KINDS = {
    "numbers that look like ids": ([0, 1, 2, 3], "number", np.float32([0, 1, 2, 3]), None),
    "ids that look like numbers": ([1.0, 0.0], "category", np.array([1, 0]), ["0", "1"]),
    "masks with an axis for channels": (IDS[..., None], "mask", np.uint8(IDS), ["0", "1", "2"]),
    "images that look like masks": (IDS, "image", np.float32(IDS[..., None]), None),
    "tags": ([["red"], []], "tags", np.float32([[1], [0]]), ["red"]),
    "no objects at all": ([{"boxes": [], "labels": []}] * 2, "boxes", None, ["cat"]),
}


@pytest.mark.parametrize("case", KINDS)
def test_a_kind_that_is_said_decides(case):
    labels, kind, expected, names = KINDS[case]
    given = {"class_names": names} if kind == "boxes" else {}
    targets, found, present = encoding.read(labels, kinds=kind, **given)
    if expected is None:
        expected = np.float32([[[0, 0, 0, 0, -1, 0]]] * 2)
    np.testing.assert_array_equal(targets, expected)
    assert (targets.dtype, found, present) == (expected.dtype, names, None)
    assert encoding.kind_of(targets, found) is encoding.KINDS[kind]
    both, _, _ = encoding.read({"x": labels, "y": ["a", "b"] * (len(labels) // 2)}, kinds={"x": kind}, **{
        key: {"x": value} for key, value in given.items()
    })  # fmt: skip
    np.testing.assert_array_equal(both["x"], targets)


WRONG_KINDS = {
    "halves": ([0.5, 1.0], "category", "whole numbers. Given: 0.5"),
    "texts": (["red;round", "red"], "tags", "split_tags"),
    "names": (["cat", "dog"], "number", "one number"),
    "paths without pictures": (["a.png", "b.png"], "mask", "files of pictures of known size"),
    "dicts": ([{"a": 1}], "boxes", "a dict with 'boxes'"),
}


@pytest.mark.parametrize("case", WRONG_KINDS)
def test_labels_that_are_not_of_the_kind_are_refused(case):
    labels, kind, message = WRONG_KINDS[case]
    with pytest.raises(checks.InputError, match=message):
        encoding.read(labels, kinds=kind)
