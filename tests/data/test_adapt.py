"""Every way to hold data leads to the same batches."""

import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import keras_transfer as kt
from keras_transfer.core import checks
from keras_transfer.data import adapt

SHAPE = (None, 8, 8, 3)


def pictures(count, size=8, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), np.uint8)


def source(data, image_shape=SHAPE, *, split="train", batch_size=None, corrupt="error"):
    options = {"batch_size": batch_size, "corrupt": corrupt}
    splits = adapt.split(data, image_shape=image_shape, **options)
    return splits.first(split).check("data", labelled=False)


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


class Sequence(keras.utils.PyDataset):
    """Batches by index."""

    def __init__(self, batches):
        super().__init__()
        self.batches, self.ended = batches, 0

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, place):
        return self.batches[place]

    def on_epoch_end(self):
        self.ended += 1


class Measured:
    """Data that is there to measure on only."""

    train = validation = None
    test = tf.data.Dataset.from_tensors((pictures(2), np.arange(2)))


class Loader:
    """Batches by iteration, with a length: as of PyTorch."""

    def __init__(self, batches):
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        return iter(self.batches)


class Endless:
    """An iterator that never ends; its length says what a pass is."""

    def __init__(self, batches):
        self.batches, self.place = batches, -1

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        return self

    def __next__(self):
        self.place += 1
        return self.batches[self.place % len(self.batches)]


def pairs(count=7, size=3):
    images, labels = pictures(count), np.arange(count)
    return [(images[at : at + size], labels[at : at + size]) for at in range(0, count, size)]


@pytest.mark.parametrize("kind", [Sequence, Loader, Endless, list])
def test_batches_of_other_kinds_come_in_every_pass(kind):
    if kind is list:
        found = adapt.batches.from_iterable(pairs())
    else:
        found = source(kind(pairs()))
    assert found.steps == found.dataset.cardinality() == 3
    for _ in range(2):
        images, targets, _, sizes = read(found)
        np.testing.assert_array_equal(images, pictures(7))
        np.testing.assert_array_equal(targets, np.arange(7))
        assert sizes == [3, 3, 1]
    for _ in range(2):
        answers = [targets.tolist() for _, targets in found.dataset.as_numpy_iterator()]
        assert answers == [[0, 1, 2], [3, 4, 5], [6]]


def test_batches_that_end_early_are_an_error():
    class Short(Loader):
        def __len__(self):
            return 4

    with pytest.raises(checks.InputError, match="4 batches in every pass. Given: 3 in this one"):
        read(source(Short(pairs())))


def test_batches_by_index_are_shuffled_for_training_as_fit_does():
    data = Sequence(pairs(20, 1))
    found = adapt.split(data, training=True).first("train")
    passes = [
        [int(targets[0]) for _, targets in found.training.as_numpy_iterator()] for _ in range(3)
    ]
    assert all(sorted(order) == list(range(20)) for order in passes)
    assert len({tuple(order) for order in passes}) == 3
    assert data.ended == 3
    assert read(found)[1].tolist() == list(range(20))
    assert found.passes[0].next == 3
    found.passes[0].next = 1  # how a resumed run goes on
    assert [int(targets[0]) for _, targets in found.training.as_numpy_iterator()] == passes[1]


def test_weights_and_dicts_of_targets_stay_what_they_are():
    images, weights = pictures(5), np.array([0.5, 1, 0, 2, 1])
    targets = {"kind": np.arange(5), "age": np.arange(5.0)}
    for data in ((images, targets, weights), Sequence([(images, targets, weights)])):
        (batch,) = source(data).read()
        np.testing.assert_array_equal(batch.weights, weights)
        assert {name: values.dtype for name, values in batch.targets.items()} == {
            "kind": np.int64,
            "age": np.float64,
        }
    (batch,) = source((images, targets, None)).read()
    assert batch.weights is None


def test_arrays_are_not_copied():
    images = pictures(6)
    (batch,) = source((images, np.arange(6))).read()
    assert np.shares_memory(batch.images, images)


def test_a_pair_is_train_and_validation():
    images, labels = pictures(9), np.arange(9)
    dataset = tf.data.Dataset.from_tensor_slices((images[6:], labels[6:])).batch(2)
    train, validation = (images[:6], labels[:6]), (images[6:], labels[6:])
    for pair in ((train, validation), (Sequence([train]), dataset), (train, dataset)):
        found = adapt.split(pair, training=True)
        assert list(found.parts) == ["train", "validation"]
        answers = [
            target for _, part in found.parts["validation"].dataset for target in part.numpy()
        ]
        assert answers == [6, 7, 8]
        assert found.first("test", "validation") is found.parts["validation"]
    assert list(adapt.split((dataset, None)).parts) == ["train"]


def test_arrays_for_training_have_the_orders_of_kt_data():
    images, labels = pictures(40), np.arange(40) % 2
    data = kt.data.from_arrays(images, labels, validation=None)
    found = adapt.split((images, labels), training=True).first("train")
    for expected, given in zip(data.train, found.training, strict=True):
        np.testing.assert_array_equal(expected[0], given[0])
        np.testing.assert_array_equal(expected[1], given[1])


def test_replaced_training_batches_are_read_as_they_are():
    data = kt.data.from_arrays(pictures(8), np.arange(8) % 2, validation=None)
    data.train = data.train.map(lambda images, labels: (images, labels + 5))
    found = adapt.split(data)
    assert found.source is None
    assert set(read(found.first("train"))[1]) == {5, 6}


def test_names_of_classes_that_keras_found(photos):
    dataset = keras.utils.image_dataset_from_directory(photos, image_size=(8, 8), verbose=False)
    assert adapt.split(dataset).class_names == ["cat", "dog"]


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
    assert (source(dataset).rows, source(dataset).steps) == (None, 2)
    assert source(dataset.filter(lambda x: True)).steps is None
    assert source(pictures(33)).steps == 2


def test_a_folder_names_its_classes_and_files(photos):
    found = source(photos)
    _, targets, files, _ = read(found)
    assert adapt.split(photos, image_shape=SHAPE).class_names == ["cat", "dog"]
    assert targets.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert [pathlib.Path(file).name for file in files] == [f"{at}.png" for at in range(7)]
    own = adapt.split(str(photos / "cat"), image_shape=SHAPE)
    assert own.class_names is None  # no subfolders: no classes
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
        assert (found.rows, found.steps) == (len(targets), -(-len(targets) // 6))
        assert found.split == split
    assert adapt.split(data).digest == data.digest
    assert data.epochs.next == 0


def test_data_of_files_names_them(photos):
    data = kt.data.from_folder(photos, image_size=8, validation=0.4, batch_size=2)
    for split in ("train", "validation"):
        found = source(data, split=split)
        _, targets, _, _ = read(found)
        files = found.files
        assert files == data.files[split]
        assert [data.class_names[target] for target in targets] == [
            pathlib.Path(file).parent.name for file in files
        ]


@pytest.mark.compiled
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


@pytest.mark.compiled
def test_a_bad_file_is_named(photos):
    for at in (5, 6):  # the second one in a batch that is not reached
        (photos / "dog" / f"{at}.png").write_bytes(b"these are my notes")
    with pytest.raises(
        checks.InputError, match=r"5\.png \(the bytes are not a JPEG.*corrupt=\"skip\""
    ) as wrong:
        read(source(photos, batch_size=2))
    assert "4.png" not in str(wrong.value)
    assert "6.png" not in str(wrong.value)
    with pytest.raises(checks.InputError, match=r"Repair or remove it\.$"):
        read(source(photos, batch_size=2, corrupt=None))


def test_a_file_that_vanishes_is_named(photos):
    found = source(photos, batch_size=2)
    (photos / "dog" / "6.png").unlink()
    with pytest.raises(checks.InputError, match=r"6\.png \(.*No such file"):
        read(found)


WRONG = {
    "nothing": (lambda: 5, r"must come from kt\.data.*Given: int"),
    "text": (lambda: np.array(["a"]), r"must come from kt\.data.*Given: ndarray of <U1"),
    "four parts": (lambda: (1, 2, 3, 4), "Given: a tuple of 4 parts"),
    "lengths": (lambda: (pictures(3), [1, 2]), "equal lengths. Given: 3, 2"),
    "two sizes": (lambda: [pictures(1)[0], pictures(1, size=9)[0]], "Bring all images to one size"),
    "endless": (lambda: tf.data.Dataset.from_tensors(pictures(2)).repeat(), "must end"),
    "no folder": (lambda: "nowhere", "that exists. Given: 'nowhere'"),
    "no file": (lambda: [pathlib.Path("nowhere.png")], "that exists. Given: 'nowhere.png'"),
    "generator": (lambda: (batch for batch in [pictures(2)]), "without a length.*PyDataset"),
    "empty": (lambda: Sequence([]), "at least one example"),
    "a pair without training images": (lambda: (Measured(), None), "must have train images"),
    "four in a batch": (lambda: Sequence([(1, 2, 3, 4)]), "4 parts"),
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
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()])
    with pytest.raises(checks.InputError, match="`split` must be one of 'train', 'validation'"):
        kt.features.extract(model, data, split="test", verbose=0)


def test_targets_with_places_are_taken_as_arrays_and_other_labels_are_sent_to_from_arrays():
    images, masks = pictures(5), pictures(5, seed=1)[..., 0] % 3
    found = adapt.split((images, {"seg": masks}), training=True).first("train")
    (batch,) = found.read()
    np.testing.assert_array_equal(batch.targets["seg"], masks)
    boxes = [{"boxes": [], "labels": []}] * 5
    with pytest.raises(
        checks.InputError, match="dict objects. Boxes, tags and blank labels are encoded by"
    ):
        adapt.split((images, {"boxes": boxes}))


@pytest.mark.parametrize("mode", ["int", "categorical", "binary"])
def test_names_that_keras_found_reach_training_reports_and_measures(photos, tmp_path, mode):
    (photos / "dog" / ".hidden.png").unlink()  # Keras would read it
    options = {"image_size": (32, 32), "label_mode": mode, "verbose": False, "seed": 0}
    train = keras.utils.image_dataset_from_directory(photos, **options)
    held = keras.utils.image_dataset_from_directory(photos, shuffle=False, **options)
    model = kt.build_model(kt.backbone("tiny"), kt.tasks.Classification(train.class_names))
    stages = [kt.Stage(epochs=1, train="head", learning_rate=1e-3)]
    kt.fine_tune(model, (train, held), stages=stages, cache="off", verbose=0)
    report = kt.evaluate(model, held)
    assert list(report["classes"]) == ["cat", "dog"]
    assert np.sum(report["confusion"], axis=1).tolist() == [4, 3]
    report.save(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "cat" in page
    assert "dog" in page

    turned = kt.build_model(kt.backbone("tiny"), kt.tasks.Classification(["dog", "cat"]))
    with pytest.raises(checks.InputError, match="must be those of .*Given: 'cat' as class 0"):
        kt.fine_tune(turned, (train, held), stages=stages)
