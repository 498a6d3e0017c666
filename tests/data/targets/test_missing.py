"""A blank label has weight 0 and a place-holder; complete data stay what they were."""

import keras
import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer import data
from keras_transfer.core import checks
from keras_transfer.data.targets import encoding

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (20, 6, 5, 3), dtype=np.uint8)
KINDS = np.array(["ant", "bee", "cow", "dog"])[np.arange(20) % 4].astype(object)
NAN = float("nan")

BLANKS = {
    "floats": ([1.5, NAN, 3.0], [1.5, 0, 3], [1, 0, 1], None),
    "float array": (np.array([NAN, 2.0], np.float32), [0, 2], [0, 1], None),
    "rows of numbers": ([[1.0, 2.0], [NAN, NAN]], [[1, 2], [0, 0]], [1, 0], None),
    "names and None": (["b", None, "a"], [1, 0, 0], [1, 0, 1], ["a", "b"]),
    "names and empty ones": (["b", "", "a", " "], [1, 0, 0, 0], [1, 0, 1, 0], ["a", "b"]),
    "array of names": (np.array(["", "b", "a"]), [0, 1, 0], [0, 1, 1], ["a", "b"]),
    "names and NaN in a list": (["b", NAN, "a"], [1, 0, 0], [1, 0, 1], ["a", "b"]),
    "ids and None": ([2, None, 0, 1], [2, 0, 0, 1], [1, 0, 1, 1], ["0", "1", "2"]),
    "ids and NaN as objects": (np.array([1, NAN, 0], object), [1, 0, 0], [1, 0, 1], ["0", "1"]),
    "masked ids": (np.ma.array([1, 9, 0], mask=[0, 1, 0]), [1, 0, 0], [1, 0, 1], ["0", "1"]),
    "masked numbers": (np.ma.array([1.0, 9.0], mask=[0, 1]), [1, 0], [1, 0], None),
    "numbers and None": ([None, 2.5, 1], [0, 2.5, 1], [0, 1, 1], None),
    "a column of one": ([[1.0], [NAN]], [1, 0], [1, 0], None),
}


@pytest.mark.parametrize("case", BLANKS)
@pytest.mark.parametrize("named", [False, True])
def test_blanks_of_every_kind(case, named):
    column, targets, weights, names = BLANKS[case]
    count = len(weights)
    result = data.from_arrays(IMAGES[:count], {"a": column} if named else column, validation=None)
    found, mask = result.targets["train"], result.weights["train"]
    if named:
        found, mask = found["a"], mask["a"]
        assert result.class_names == (names and {"a": names})
    else:
        assert result.class_names == names
    np.testing.assert_array_equal(found, np.array(targets))
    np.testing.assert_array_equal(mask, np.array(weights, np.float32))
    assert mask.dtype == np.float32
    assert found.dtype == (np.float32 if names is None else np.int64)


def test_batches_have_weights_in_the_form_of_the_targets():
    labels = {"kind": np.where(np.arange(20) % 3, KINDS, None), "age": np.arange(20.0) / 2}
    result = data.from_arrays(IMAGES, labels, validation=0.25, test=0.25, batch_size=4)
    for split in ("train", "validation", "test"):
        dataset = getattr(result, split)
        assert set(dataset.element_spec[2]) == {"kind", "age"}
        for images, targets, weights in [*dataset, *result.ordered(split)]:
            rows = [
                int(np.flatnonzero((image == IMAGES).all((1, 2, 3)))[0]) for image in images.numpy()
            ]
            np.testing.assert_array_equal(
                weights["kind"], (np.array(rows) % 3 != 0).astype("float32")
            )
            np.testing.assert_array_equal(weights["age"], np.ones(len(rows)))
            known = weights["kind"].numpy() > 0
            named = np.array(result.class_names["kind"])[targets["kind"]]
            np.testing.assert_array_equal(named[known], KINDS[rows][known])
            assert not targets["kind"].numpy()[~known].any()
    for places, targets, weights in result.places("validation"):
        np.testing.assert_array_equal(weights["kind"], result.weights["validation"]["kind"][places])
        np.testing.assert_array_equal(targets["kind"], result.targets["validation"]["kind"][places])


def test_a_missing_label_in_one_split_gives_all_splits_weights():
    result = data.from_arrays(
        IMAGES[:10], KINDS[:10], validation=None, test=(IMAGES[10:], [*KINDS[10:19], None])
    )
    np.testing.assert_array_equal(result.weights["train"], np.ones(10))
    np.testing.assert_array_equal(result.weights["test"], [*[1] * 9, 0])
    blank = data.from_arrays(
        IMAGES[:10], KINDS[:10], validation=None, test=(IMAGES[10:], [None] * 10)
    )
    assert not blank.weights["test"].any()
    assert blank.targets["test"].dtype == np.int64


def test_complete_data_have_no_weights_and_their_digest_stays():
    labels = {"kind": KINDS.astype(str), "age": np.arange(20.0) / 2}
    result = data.from_arrays(IMAGES, labels, validation=0.25)
    assert result.weights is None
    assert len(result.train.element_spec) == 2
    masked = {"kind": np.ma.array(KINDS.astype(str), mask=False), "age": np.ma.array(labels["age"])}
    again = data.from_arrays(IMAGES, masked, validation=0.25)
    assert (again.weights, again.digest) == (None, result.digest)
    # Of the version before labels could be missing: a cache or a run of that time is still known.
    assert result.digest == "f8e77c38386afd49bd5a2a55b28ff241"
    assert result.order(0).tolist() == np.random.default_rng((0, 0)).permutation(15).tolist()


def test_the_digest_tells_which_labels_are_missing():
    ids = [0, 1, 0, 1, 0, 1, 0, 0]
    digests = {data.from_arrays(IMAGES[:8], ids, validation=None).digest}
    for at in (0, 2):  # a missing id has the place-holder 0, which these are anyway
        digests.add(
            data.from_arrays(IMAGES[:8], [*ids[:at], None, *ids[at + 1 :]], validation=None).digest
        )
    assert len(digests) == 3


def test_a_missing_label_is_no_class_when_splits_are_dealt():
    """10 of each class and 10 without: each gives a tenth... of itself."""
    images = RNG.integers(0, 256, (30, 4, 4, 3), dtype=np.uint8)
    result = data.from_arrays(images, ["a", "b", None] * 10, validation=0.2)
    mask, ids = (found["validation"] for found in (result.weights, result.targets))
    assert [int(((ids == at) & (mask == 1)).sum()) for at in (0, 1)] == [2, 2]
    assert int((mask == 0).sum()) == 2


def test_disjoint_labels_are_each_stratified():
    images = RNG.integers(0, 256, (60, 4, 4, 3), dtype=np.uint8)
    first = ["a", "b"] * 10 + [None] * 40
    second = [None] * 20 + ["x", "y"] * 10 + [None] * 20
    third = [NAN] * 40 + list(np.arange(20) / 2)
    result = data.from_arrays(
        images, {"n": third, "first": first, "second": second}, validation=0.2
    )
    found, masks = result.targets["validation"], result.weights["validation"]
    for name in ("first", "second"):
        assert np.bincount(found[name][masks[name] == 1]).tolist() == [2, 2]
    assert int(masks["n"].sum()) == 4


def test_an_image_without_any_label_is_kept():
    result = data.from_arrays(
        IMAGES[:4], {"a": ["x", "y", None, "x"], "b": [1.5, 2.5, NAN, 0.5]}, validation=None
    )
    assert [result.weights["train"][name][2] for name in "ab"] == [0, 0]
    assert len(result.targets["train"]["a"]) == 4


def test_summary_repr_and_note(capsys):
    labels = {"kind": ["a", "b", None, "a"], "age": [1.5, NAN, NAN, 4.5]}
    result = data.from_arrays(IMAGES[:4], labels, validation=None)
    note = "1 of 4 kind, 2 of 4 age labels are missing: they count neither in losses nor in metrics"
    assert result.notes == [note]
    assert capsys.readouterr().out == f"keras_transfer: {note}\n"
    assert repr(result) == "Data(train=4, kind=2 classes, missing=3, image_size=6x5, batch_size=32)"
    rows = [line.split() for line in result.summary().splitlines()]
    assert rows[:5] == [["kind", "train"], ["a", "2"], ["b", "1"], ["missing", "1"], ["all", "4"]]
    assert rows[6:9] == [["min", "1.5"], ["mean", "3"], ["max", "4.5"]]
    assert rows[9:11] == [["missing", "2"], ["all", "4"]]


def test_a_split_without_a_number_has_no_mean():
    result = data.from_arrays(
        IMAGES[:4], [1.5, 2, 3, 4], validation=None, test=(IMAGES[4:6], [NAN, NAN])
    )
    assert [line.split()[-1] for line in result.summary().splitlines()[1:5]] == ["-", "-", "-", "2"]


def test_absent_classes_are_counted_among_labels_only():
    result = data.from_arrays(
        IMAGES[:6], ["a", "b"] * 3, validation=None, test=(IMAGES[6:8], ["b", None])
    )
    assert "no test images of 'a'" in result.notes


def test_joined_data_keep_their_weights():
    result = data.from_arrays(IMAGES, [*KINDS[:18], None, None], validation=0.5)
    joined = result.joined()
    expected = np.concatenate([result.weights["train"], result.weights["validation"]])
    np.testing.assert_array_equal(joined.weights["train"], expected)
    assert int((expected == 0).sum()) == 2


def test_the_data_of_one_task_are_its_labelled_examples():
    labels = {"kind": ["a", "b", None, "b"] * 5, "age": [1.5, NAN, 3.5, NAN] * 5}
    whole = data.from_arrays(IMAGES, labels, validation=0.25, test=0.25, seed=1)
    for name in labels:
        part = whole.only(name)
        for split in ("train", "validation", "test"):
            known = whole.weights[split][name] != 0
            np.testing.assert_array_equal(part.targets[split], whole.targets[split][name][known])
            pixels = np.concatenate(
                [images for images, *_ in whole.ordered(split).as_numpy_iterator()]
            )
            mine = np.concatenate([images for images, _ in part.ordered(split).as_numpy_iterator()])
            np.testing.assert_array_equal(mine, pixels[known])
        assert part.weights is None
    assert whole.only("kind").class_names == ["a", "b"]
    assert whole.only("age").class_names is None
    assert whole.only("age").digest != whole.only("kind").digest


def test_only_needs_a_target_with_labels():
    whole = data.from_arrays(
        IMAGES[:4], {"kind": ["a", "b"] * 2, "age": [1.5, 2.5, 3.5, 4.5]}, validation=None
    )
    with pytest.raises(checks.InputError, match="Close names: 'kind'"):
        whole.only("kinds")
    with pytest.raises(
        checks.InputError, match="several targets by name. Given: one without a name"
    ):
        data.from_arrays(IMAGES[:4], ["a", "b"] * 2, validation=None).only("a")
    held = (IMAGES[4:6], {"kind": ["a", "b"], "age": [NAN, NAN]})
    bare = data.from_arrays(
        IMAGES[:4], {"kind": ["a", "b"] * 2, "age": [1.5] * 4}, validation=None, test=held
    )
    with pytest.raises(
        checks.InputError, match="a label of some test image for 'age'. Given: none"
    ):
        bare.only("age")


BAD = {
    "all blank": (([NAN] * 4, {}), r"`labels` must hold a label of some image. Given: 4 blanks"),
    "a blank column": (
        ({"a": [None] * 4, "b": [1.5] * 4}, {}),
        r"`labels\['a'\]` must hold a label",
    ),
    "infinite": (([1.0, np.inf, NAN, 2.0], {}), "must be finite. Given: inf at index 1"),
    "part of a row": (
        ([[1.0, NAN]] * 4, {}),
        "all numbers of an image or none. Given: .* at index 0. Make each",
    ),
    "unknown name behind a blank": (
        ([None, "a", "x", "b"], {"class_names": ["a", "b"]}),
        "Given: 'x' at index 2",
    ),
    "gap among ids": (([0, None, 2, 2], {}), "ids up to 2 without 1"),
    "one class": (([0, None, 0, 0], {}), "at least two classes"),
    "objects": (([{}, None, {}, {}], {}), "dtype object"),
    "class whose labels are all held out": (
        (["a", "a", "b", "a"], {"class_names": ["a", "b", "c"]}),
        "none of 'c'",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_labels_are_refused(case):
    (labels, options), message = BAD[case]
    with pytest.raises(checks.InputError, match=message) as caught:
        data.from_arrays(IMAGES[:4], labels, validation=None, **options)
    assert "\n" not in str(caught.value)


def test_training_images_must_have_a_label():
    with pytest.raises(checks.InputError, match="a label of a training image. Given: blanks only"):
        encoding.check_present(np.zeros(3), None, weights=np.zeros(3), fix="")
    with pytest.raises(
        checks.InputError, match="every class must have a training image. Given: none of 'a'"
    ):
        encoding.check_present(np.array([0, 1]), ["a", "b"], weights=np.array([0.0, 1.0]), fix="")


def test_placeholders_give_no_nan_in_any_loss():
    probabilities = np.full((2, 3), 1 / 3, "float32")
    column, _, present = encoding.read([None, 1, 2, 0])
    column = column[:2]
    assert present.tolist() == [False, True, True, True]
    for loss in (
        kt.losses.Crossentropy(),
        kt.losses.Focal(),
        keras.losses.SparseCategoricalCrossentropy(),
    ):
        assert np.isfinite(float(loss(column, probabilities, sample_weight=np.array([0.0, 1.0]))))
