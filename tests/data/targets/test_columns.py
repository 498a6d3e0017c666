"""Masks and images in files: read in every pass or kept, in any number of threads, mixed and missing."""

import os

import numpy as np
import pytest
from PIL import Image

import keras_transfer as kt
from keras_transfer.core import checks, labelled
from keras_transfer.data import base, pipeline
from keras_transfer.data.targets import columns, encoding, masks, pictures
from keras_transfer.machine import memory

RNG = np.random.default_rng(0)
IDS = RNG.integers(0, 3, (8, 8, 8)).astype(np.uint8)
IMAGES = RNG.integers(0, 256, (8, 8, 8, 3), np.uint8)
SIZES = pictures.Pictures((8, 8))
NAMES = ["a", "b", "c"]


@pytest.fixture
def paths(tmp_path):
    files = []
    for number, mask in enumerate(IDS):
        files.append(tmp_path / f"{number}.png")
        Image.fromarray(mask).save(files[-1])
    return files


def data_of(column, rows, name="seg"):
    train = pipeline.Examples.of(IMAGES, {name: column}).pick(rows)
    return base.from_examples(
        {"train": train},
        class_names={name: NAMES},
        image_size=(8, 8),
        batch_size=3,
        seed=0,
        digest=encoding.digest_of(column),
        notes=[],
    )


def read(paths, keep):
    return masks.read_files(paths, sizes=SIZES, classes=NAMES, keep=keep)[0]


def test_files_train_as_arrays_do_whatever_the_number_of_threads(paths, monkeypatch):
    rows = np.array([5, 0, 3, 7, 1])
    arrays = data_of(IDS, rows)
    for keep, threads in ((True, 2), (False, 1), (False, 16)):
        monkeypatch.setattr(os, "cpu_count", lambda threads=threads: threads)
        files = data_of(read(paths, keep), rows)
        for one, other in zip(arrays.train, files.train, strict=True):
            np.testing.assert_array_equal(one[0], other[0])
            np.testing.assert_array_equal(one[1]["seg"], other[1]["seg"])
        arrays.set_epoch(0)
        assert files.summary() == arrays.summary()
        assert files.show(count=5).captions == arrays.show(count=5).captions


def test_columns_are_joined_with_others_and_with_blanks(paths):
    for keep in (True, False):
        column = read(paths, keep)
        values = dict.fromkeys(NAMES, 0) | {"a": 2, "b": 1, "c": 0}
        turned, _ = masks.read_files(paths[:2], sizes=SIZES, classes=values, keep=keep)
        whole = columns.join([column[np.array([6, 2])], turned, masks.blank(column, 1), column[:1]])
        expected = [IDS[6], IDS[2], 2 - IDS[0], 2 - IDS[1], np.full((8, 8), 255), IDS[0]]
        np.testing.assert_array_equal(whole, expected)
        np.testing.assert_array_equal(whole[np.array([4, 3])], [expected[4], expected[3]])
        counts = [np.bincount(mask.ravel(), minlength=256)[:3] for mask in expected]
        np.testing.assert_array_equal(masks.pixels_of(whole, 3), counts)
        assert whole.digest() != whole[::-1].digest()
        again = columns.join([column[:4], column[4:]])
        assert again.digest() == column.digest()


@pytest.mark.parametrize("keep", [True, False])
def test_sets_with_masks_in_files_are_mixed(paths, keep):
    first = data_of(read(paths, keep), np.arange(5), name="ground")
    second = kt.data.from_arrays(255 - IMAGES, ["cat", "dog"] * 4, validation=None, batch_size=3)
    mixed = kt.data.mix({"ground": first, "pets": second})
    assert np.asarray(mixed.targets["train"]["ground"])[4:7].tolist() == [
        IDS[4].tolist(), [[255] * 8] * 8, [[255] * 8] * 8,
    ]  # fmt: skip
    only = mixed.only("ground")
    np.testing.assert_array_equal(only.targets["train"], IDS[:5])
    np.testing.assert_array_equal(
        np.concatenate([batch[1] for batch in only.ordered("train")]), IDS[:5]
    )
    assert labelled.sample(mixed.targets["train"]["ground"], 3).shape == (3, 8, 8)


def test_files_that_vanish_or_change_are_named(paths):
    column = read(paths, keep=False)
    paths[3].unlink()
    Image.fromarray(IDS[0] + 9).save(paths[4])
    for row, reason in ((3, "No such file"), (4, "value 9, which is no class")):
        with pytest.raises(
            checks.InputError, match=rf"{row}.png.*{reason}|{row}.png.*value \d+, which"
        ):
            column[row]
    with pytest.raises(checks.InputError, match="index 3: .*No such file"):
        read(paths[:4], keep=False)


def test_a_column_is_no_array_where_it_would_fill_the_memory(paths, monkeypatch):
    column = read(paths, keep=False)
    monkeypatch.setattr(memory, "free_memory", lambda: 100)
    with pytest.raises(checks.InputError, match=r"must fit in memory.*column\[start:stop\]"):
        np.asarray(column)
    assert column.some_rows(2).shape == (2, 8, 8)
