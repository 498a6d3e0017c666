"""Every way to give images leads to the same batches."""

import pathlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import keras_transfer as kt
from keras_transfer.core import checks
from keras_transfer.features import batches

SHAPE = (None, 8, 8, 3)


def pictures(count, size=8, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), np.uint8)


def source(data, wanted=SHAPE, *, split="train", batch_size=None, corrupt="error"):
    return batches.source(data, wanted, split=split, batch_size=batch_size, corrupt=corrupt)


def read(found):
    got = list(found.read())
    images = np.concatenate([np.asarray(batch.images) for batch in got])
    targets = (
        None
        if got[0].targets is None
        else np.concatenate([np.asarray(batch.targets) for batch in got])
    )
    files = None if got[0].files is None else [file for batch in got for file in batch.files]
    return images, targets, files, [len(batch.images) for batch in got]


@pytest.fixture
def photos(tmp_path):
    for at, image in enumerate(pictures(7)):
        file = tmp_path / "photos" / ("cat" if at < 4 else "dog") / f"{at}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file)
    (tmp_path / "photos" / "dog" / "notes.txt").write_text("no image")
    (tmp_path / "photos" / "dog" / ".hidden.png").write_text("no image")
    return tmp_path / "photos"


def test_arrays_datasets_and_files_give_the_same_images(photos):
    expected, labels = pictures(7), np.arange(7)
    dataset = tf.data.Dataset.from_tensor_slices((expected, labels)).batch(4)
    for data in (
        expected,
        list(expected),
        (expected, labels),
        dataset,
        dataset.map(lambda x, y: x),
        photos,
    ):
        images, targets, _, sizes = read(source(data, batch_size=3))
        np.testing.assert_array_equal(images, expected)
        assert sizes == [3, 3, 1]
        if targets is not None and data is not photos:
            np.testing.assert_array_equal(targets, labels)


def test_what_is_known_before_reading(photos):
    dataset = tf.data.Dataset.from_tensor_slices(pictures(7)).batch(4)
    rows = {source(data).rows for data in (pictures(7), photos, sorted(photos.rglob("*.png"))[1:])}
    assert rows == {7}
    assert (source(dataset).rows, source(dataset).batches) == (None, 2)
    assert source(dataset.filter(lambda x: True)).batches is None
    assert source(pictures(33)).batches == 2


def test_a_folder_names_its_classes_and_files(photos):
    found = source(photos)
    _, targets, files, _ = read(found)
    assert found.class_names == ["cat", "dog"]
    assert targets.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert [pathlib.Path(file).name for file in files] == [f"{at}.png" for at in range(7)]
    assert source(str(photos / "cat")).class_names is None  # images of its own: no classes
    assert read(source([photos / "dog", str(photos / "cat" / "2.png")]))[2][-1] == str(
        photos / "cat" / "2.png"
    )


def test_data_comes_in_the_order_of_its_targets_and_counts_no_pass():
    images, labels = pictures(20), np.arange(20).astype("float32")
    data = kt.data.from_arrays(images, labels, test=0.3, batch_size=6, seed=1)
    for split in ("train", "validation", "test"):
        found = source(data, split=split)
        got, targets, _, _ = read(found)
        np.testing.assert_array_equal(targets, data.targets[split])
        np.testing.assert_array_equal(got, images[targets.astype(int)])
        assert (found.rows, found.batches) == (len(targets), -(-len(targets) // 6))
        assert found.facts == {"split": split, "digest": data.digest}
    assert data.epochs.next == 0


def test_data_of_files_names_them(photos):
    data = kt.data.from_folder(photos, image_size=8, validation=0.4, batch_size=2)
    for split in ("train", "validation"):
        _, targets, files, _ = read(source(data, split=split))
        assert files == data.files[split]
        assert [data.class_names[target] for target in targets] == [
            pathlib.Path(file).parent.name for file in files
        ]


def test_skipping_bad_files_keeps_the_rest_in_order(photos):
    (photos / "cat" / "00.png").write_bytes(b"")
    (photos / "cat" / "1.png").write_bytes((photos / "cat" / "2.png").read_bytes()[:60])
    (photos / "dog" / "z.jpg").write_bytes(b"these are my notes")
    found = source(photos, batch_size=2, corrupt="skip")
    images, targets, files, sizes = read(found)
    np.testing.assert_array_equal(images, np.delete(pictures(7), 1, axis=0))
    assert targets.tolist() == [0, 0, 0, 1, 1, 1]
    assert [pathlib.Path(file).name for file in files] == [
        "0.png",
        "2.png",
        "3.png",
        "4.png",
        "5.png",
        "6.png",
    ]
    assert sizes == [2, 2, 2]
    reasons = {pathlib.Path(file).name: why for file, why in found.skipped.items()}
    assert list(reasons) == ["00.png", "1.png", "z.jpg"]
    assert reasons["00.png"] == "the file is empty"
    assert "not a JPEG" in reasons["z.jpg"]


def test_a_bad_file_is_named(photos):
    for at in (5, 6):  # the second one in a batch that is not reached
        (photos / "dog" / f"{at}.png").write_bytes(b"these are my notes")
    with pytest.raises(
        checks.InputError, match=r"5\.png \(the bytes are not a JPEG.*corrupt=\"skip\""
    ) as wrong:
        read(source(photos, batch_size=2))
    assert "4.png" not in str(wrong.value)
    assert "6.png" not in str(wrong.value)


def test_a_file_that_vanishes_is_named(photos):
    found = source(photos, batch_size=2)
    (photos / "dog" / "6.png").unlink()
    with pytest.raises(checks.InputError, match=r"6\.png \(.*No such file"):
        read(found)


WRONG = {
    "nothing": (lambda: 5, r"must come from kt\.data.*Given: int of type|must be \(n, height"),
    "text": (lambda: np.array(["a"]), "Given: ndarray of type"),
    "three parts": (lambda: (1, 2, 3), "Given: a tuple of 3"),
    "one image": (
        lambda: pictures(1)[0],
        r"must be \(n, height, width, channels\)\. Given: \(8, 8, 3\)",
    ),
    "no images": (lambda: pictures(0), "must hold images"),
    "lengths": (
        lambda: (pictures(3), [1, 2]),
        r"same length\. Given: 3 images, targets of shape \(2,\)",
    ),
    "size": (
        lambda: pictures(3, size=9),
        r"must have shape \(None, 8, 8, 3\)\. Given: \(None, 9, 9, 3\)",
    ),
    "channels": (lambda: pictures(3)[..., :1], "must have 3 channels as the model takes"),
    "endless": (lambda: tf.data.Dataset.from_tensors(pictures(2)).repeat(), "must end"),
    "not batched": (lambda: tf.data.Dataset.from_tensor_slices(pictures(2)), "Batch the dataset"),
    "dict": (lambda: tf.data.Dataset.from_tensors({"x": pictures(2)}), "must give images"),
    "no folder": (lambda: "nowhere", "that exists. Given: 'nowhere'"),
    "no file": (lambda: [pathlib.Path("nowhere.png")], "that exists. Given: 'nowhere.png'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_data(case):
    make, message = WRONG[case]
    with pytest.raises(checks.InputError, match=message):
        source(make())


def test_a_folder_without_images(tmp_path):
    with pytest.raises(checks.InputError, match="a folder with images"):
        source(tmp_path)


@pytest.mark.parametrize("channels", [1, 4])
def test_files_come_with_the_models_channels(photos, channels):
    got = read(source(photos, (None, 8, 8, channels)))[0]
    np.testing.assert_array_equal(
        got, kt.data.load_images(sorted(photos.rglob("[0-9].png")), 8, channels=channels)
    )
    assert got.shape == (7, 8, 8, channels)


def test_files_need_a_size(photos):
    with pytest.raises(checks.InputError, match="load_images"):
        source(photos, (None, None, None, 3))


def test_an_unknown_split():
    data = kt.data.from_arrays(pictures(10), np.arange(10) % 2)
    with pytest.raises(checks.InputError, match="`split` must be one of 'train', 'validation'"):
        source(data, split="test")
