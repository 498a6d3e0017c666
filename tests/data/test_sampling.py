"""Fewer images of the same data, and data that goes to another process."""

import pickle

import numpy as np
import pytest

import keras_transfer as kt


def make(count=60, **options):
    images = np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3), np.uint8)
    labels = np.where(np.arange(count) % 6 == 0, "rare", "often")
    return kt.data.from_arrays(images, labels, test=0.2, seed=1, **options)


def rows(data):
    return {split: set(examples.rows.tolist()) for split, examples in data.examples.items()}


def test_smaller_samples_are_part_of_larger_ones_and_keep_shares():
    data = make()
    few, many = rows(data.sample(12)), rows(data.sample(24))
    for split in ("train", "validation"):
        assert few[split] < many[split] < rows(data)[split]
    assert few["test"] == rows(data)["test"]
    counts = np.bincount(data.sample(24).targets["train"])
    assert counts.sum() == 18  # of 36 and 12 for validation
    assert abs(counts[1] - 3) <= 1
    assert rows(data.sample(12, seed=5)) != few
    assert data.sample(12).digest != data.digest


def test_every_class_has_an_image_where_there_is_room():
    labels = np.arange(60) // 10
    images = np.zeros((60, 8, 8, 3), np.uint8)
    data = kt.data.from_arrays(images, labels, test=0.2, validation=None)
    assert sorted(data.sample(6).targets["train"]) == list(range(6))


def test_validation_stays_where_nothing_else_measures():
    images = np.zeros((20, 8, 8, 3), np.uint8)
    data = kt.data.from_arrays(images, ["a", "b"] * 10)
    small = data.sample(4)
    assert len(small.targets["train"]) == 4
    assert rows(small)["validation"] == rows(data)["validation"]
    with pytest.raises(kt.InputError, match="`count` must be at most 16"):
        data.sample(17)
    few = data.sample(10, among=("train", "validation"))
    assert [len(few.targets[split]) for split in ("train", "validation")] == [8, 2]
    with pytest.raises(kt.InputError, match="`among` must be a known name. Given: 'test'"):
        data.sample(10, among=["test"])


def test_tags_and_missing_labels_are_sampled():
    images = np.zeros((8, 8, 8, 3), np.uint8)
    labels = {"tags": [["a"], ["b"], [], ["a", "b"]] * 2, "age": [1.5, None] * 4}
    data = kt.data.from_arrays(images, labels, validation=None)
    small = data.sample(4)
    assert small.targets["train"]["tags"].shape == (4, 2)
    assert small.weights["train"]["age"].sum() in (1, 2, 3)


def test_another_process_gets_the_same_batches():
    data = make()
    data.folder = "photos"
    again = pickle.loads(pickle.dumps(data))
    assert again.digest == data.digest
    assert again.folder == "photos"
    for split in ("train", "validation", "test"):
        pairs = zip(getattr(data, split), getattr(again, split), strict=True)
        for (images, labels), (others, other_labels) in pairs:
            np.testing.assert_array_equal(images, others)
            np.testing.assert_array_equal(labels, other_labels)


def test_data_with_batches_of_the_users_own_stays_here():
    data = make()
    data.train = data.train.take(1)
    with pytest.raises(kt.InputError, match="as kt.data made it"):
        pickle.dumps(data)
