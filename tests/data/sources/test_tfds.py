"""Sets that the tests prepare themselves with tensorflow-datasets' own builder classes, and ten made-up known ones."""

import io
import json
import logging

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

from keras_transfer import data
from keras_transfer.core import checks
from keras_transfer.data.targets import boxes, pictures
from keras_transfer.machine import memory
from keras_transfer.storage import images

SIZES = ((12, 20), (16, 10), (9, 9))  # height and width of the pictures, in turn
KINDS = ["ant", "bee", "cow"]


def encoded(seed, height, width, form="PNG"):
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()


class OwnSet(tfds.core.GeneratorBasedBuilder):
    """A base that needs no files of its own."""

    VERSION = tfds.core.Version("1.2.0")
    SPLITS = {"train": 30}  # noqa: RUF012

    def _info(self):
        return tfds.core.DatasetInfo(builder=self, **self.features())

    def _split_generators(self, manager):
        return {split: self._generate_examples(split) for split in self.SPLITS}

    def _generate_examples(self, split):
        start = 1000 * list(self.SPLITS).index(split)
        for number in range(start, start + self.SPLITS[split]):
            yield number, self.example(number, split)

    def features(self):
        raise NotImplementedError


class KtKinds(OwnSet):
    SPLITS = {"train": 30, "test": 6, "extra": 6}  # noqa: RUF012

    def features(self):
        found = tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(encoding_format="jpeg"),
                "label": tfds.features.ClassLabel(names=KINDS),
                "weight": tf.float32,
                "tags": tfds.features.Sequence(tfds.features.ClassLabel(names=["red", "round"])),
                "signs": {"old": tf.bool, "new": tf.bool},
                "name": tfds.features.Text(),
            }
        )
        return {"features": found, "supervised_keys": ("image", "label")}

    def example(self, number, split):
        return {
            "image": io.BytesIO(encoded(number, *SIZES[number % 3], "JPEG")),
            "label": -1 if split == "extra" else number % 3,
            "weight": number / 4,
            "tags": ["red", "round"][: number % 3],
            "signs": {"old": number % 2 == 0, "new": True},
            "name": KINDS[number % 3],
        }


class KtObjects(OwnSet):
    SPLITS = {"train": 9, "validation": 3, "test": 3}  # noqa: RUF012

    def features(self):
        inside = {
            "bbox": tfds.features.BBoxFeature(),
            "label": tfds.features.ClassLabel(names=KINDS),
            "is_crowd": tf.bool,
            "area": tf.int64,
        }
        found = {"image": tfds.features.Image(), "objects": tfds.features.Sequence(inside)}
        return {"features": tfds.features.FeaturesDict(found)}

    def example(self, number, split):
        objects = []
        for place in range(0 if split == "test" else number % 3):
            box = tfds.features.BBox(ymin=0.25, xmin=0.5 - 0.25 * place, ymax=0.75, xmax=1.0)
            objects.append({"bbox": box, "label": KINDS[place], "is_crowd": place == 1, "area": 7})
        return {"image": io.BytesIO(encoded(number, *SIZES[number % 3])), "objects": objects}


def mask_of(number):
    height, width = SIZES[number % 3]
    return np.random.default_rng(number).integers(0, 3, (height, width, 1), np.uint8)


class KtMasks(OwnSet):
    SPLITS = {"train": 8}  # noqa: RUF012

    def features(self):
        found = {
            "image": tfds.features.Image(),
            "segmentation_mask": tfds.features.Image(shape=(None, None, 1)),
            "parts": tfds.features.LabeledImage(labels=["none", "leg", "wing"]),
            "depth": tfds.features.Tensor(shape=(None, None), dtype=tf.float32, encoding="zlib"),
        }
        pair = ("image", "segmentation_mask")
        return {"features": tfds.features.FeaturesDict(found), "supervised_keys": pair}

    def example(self, number, split):
        mask = mask_of(number)
        return {
            "image": io.BytesIO(encoded(number, *SIZES[number % 3])),
            "segmentation_mask": mask,
            "parts": mask,
            "depth": mask[..., 0].astype(np.float32) / 2,
        }


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder with all three sets."""
    folder = tmp_path_factory.mktemp("sets")
    logging.getLogger("absl").setLevel(logging.ERROR)
    for own in (KtKinds, KtObjects, KtMasks):
        own(data_dir=folder).download_and_prepare()
    return folder


def rows_of(found, split):
    """The pixels of a split as an array, in the order of its targets."""
    part = found.examples[split]
    return part.pixels.numpy()[part.rows]


def test_a_classification_set_is_read_as_its_files_are(prepared, tmp_path, capsys):
    found = data.from_tfds("kt_kinds", image_size=(8, 6), data_dir=prepared, download=False)
    assert repr(found).startswith("Data(train=24, validation=6, test=6, classes=3")
    assert found.class_names == KINDS
    assert "kt_kinds/1.2.0: training images from 'train', test images from 'test'" in (
        capsys.readouterr().out
    )
    expected = {}
    for number in [*range(30), *range(1000, 1006)]:
        file = tmp_path / "a.jpg"
        file.write_bytes(encoded(number, *SIZES[number % 3], "JPEG"))
        expected[images.load(str(file), (8, 6)).numpy().tobytes()] = number % 3
    seen = {}
    for split in found.examples:
        for pixels, label in zip(rows_of(found, split), found.targets[split], strict=True):
            seen[pixels.tobytes()] = label
    assert seen == expected


def test_parts_of_splits_and_shares(prepared):
    options = {"image_size": 8, "data_dir": prepared}
    found = data.from_tfds(
        "kt_kinds:1.2.0", train="train[:50%]+extra", validation="train[50%:80%]", test=0, **options
    )
    assert {split: len(part) for split, part in found.examples.items()} == {
        "train": 15 + 6,
        "validation": 9,
    }
    assert found.weights["train"].sum() == 15  # the others have label -1: it is missing
    again = data.from_tfds("kt_kinds", test=0.2, validation=None, **options)
    assert {split: len(part) for split, part in again.examples.items()} == {"train": 24, "test": 6}


def test_a_builder_and_several_targets(prepared):
    builder = tfds.builder_from_directory(prepared / "kt_kinds" / "1.2.0")
    targets = {
        "label": "category",
        "weight": "number",
        "tags": "tags",
        "signs": "tags",
        "name": "category",
    }
    found = data.from_tfds(builder, targets=targets, image_size=8, validation=None, test=0)
    order = np.argsort(found.targets["train"]["weight"])
    values = {key: column[order] for key, column in found.targets["train"].items()}
    numbers = np.arange(30)
    np.testing.assert_array_equal(values["weight"], numbers / 4)
    np.testing.assert_array_equal(values["label"], numbers % 3)
    np.testing.assert_array_equal(values["name"], numbers % 3)
    np.testing.assert_array_equal(values["tags"], np.stack([numbers % 3 > 0, numbers % 3 > 1], 1))
    assert found.class_names["signs"] == ["new", "old"]  # in every process
    signs = dict(zip(found.class_names["signs"], values["signs"].T, strict=True))
    np.testing.assert_array_equal(signs["old"], numbers % 2 == 0)
    np.testing.assert_array_equal(signs["new"], numbers >= 0)
    single = data.from_tfds(builder, targets="name", image_size=8)
    assert single.class_names == KINDS


def test_boxes_are_in_pixels_of_the_resized_picture(prepared, capsys):
    found = data.from_tfds("kt_objects", image_size=(8, 20), data_dir=prepared)
    assert found.class_names == KINDS
    assert set(found.examples) == {"train", "validation"}, "the test split has no boxes"
    assert "'test' has no labels: there is no test split" in capsys.readouterr().out
    targets = found.targets["train"]
    assert targets.shape == (9, 2, 6)
    first, second = [10, 2, 20, 6, 0, 0], [5, 2, 20, 6, 1, 1]
    none = [0, 0, 0, 0, -1, 0]
    expected = {0: [none, none], 1: [first, none], 2: [first, second]}
    counts = sorted(int((rows[:, 4] >= 0).sum()) for rows in targets)
    assert counts == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    for rows in targets:
        np.testing.assert_array_equal(rows, expected[int((rows[:, 4] >= 0).sum())])
    assert boxes.holds(targets, KINDS)


def test_masks_are_resized_by_the_nearest_pixel(prepared):
    found = data.from_tfds("kt_masks", image_size=(7, 11), data_dir=prepared, validation=None)
    assert found.class_names == ["0", "1", "2"]
    expected = {pictures.nearest(mask_of(n)[..., 0], (7, 11)).tobytes() for n in range(8)}
    masks = found.targets["train"]
    assert masks.dtype == np.uint8
    assert {mask.tobytes() for mask in masks} == expected

    targets = {"parts": "mask", "depth": "image"}
    other = data.from_tfds(
        "kt_masks", targets=targets, image_size=(7, 11), data_dir=prepared, validation=None
    )
    assert other.class_names == {"parts": ["none", "leg", "wing"]}
    parts, depths = other.targets["train"]["parts"], other.targets["train"]["depth"]
    np.testing.assert_array_equal(depths[..., 0], parts / 2)


def test_a_turned_photo_keeps_its_boxes_in_place():
    """What lies in a picture is told for the pixels as they are stored."""
    from keras_transfer.data.sources import tfds_features

    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (6, 4)).save(file, "JPEG", exif=exif)
    upright, stored = (
        tfds_features.decoder_of(3, is_upright=flag)(tf.constant(file.getvalue()))
        for flag in (True, False)
    )
    assert (upright.shape[:2], stored.shape[:2]) == ((6, 4), (4, 6))
    grey = tfds_features.decoder_of(1, is_upright=False)(tf.constant(encoded(0, 3, 5)))
    assert grey.shape == (3, 5, 1)


BAD = {
    "no such set": ({"name": "oxford_flower102"}, "Close names: 'oxford_flowers102'"),
    "no name": ({"name": 7}, "must be the name of a set, or a builder. Given: 7"),
    "a path": ({"name": "../x"}, "must be a set that can be read. Given: '../x'"),
    "another collection": ({"name": "huggingface:mnist"}, "a set of tensorflow-datasets itself"),
    "no such version": ({"name": "kt_kinds:9.0.0"}, "kt_kinds:9.0.0"),
    "no such split": ({"train": "trian"}, "`train` must be a split of kt_kinds/1.2.0.*'train'"),
    "a bad slice": ({"train": "train[:x%]"}, "`train` must be a split of"),
    "an empty slice": ({"train": "train[5:5]"}, "`train` must hold images. Given: none in"),
    "shared images": ({"train": "train[:60%]", "validation": "train[50%:]"}, "share no images"),
    "a share of all": ({"validation": 1.5}, "`validation` must be a number"),
    "no such feature": ({"targets": {"lable": "category"}}, "a feature of the set. Given: 'lable'"),
    "no such kind": ({"targets": {"label": "class"}}, r"`targets\['label'\]` must be a known name"),
    "another kind": ({"targets": {"label": "boxes"}}, "kind 'boxes' must be objects with a BBox"),
    "no targets": ({"targets": {}}, "must be a dict of kinds, or a feature"),
    "no picture": ({"image": "label"}, "`image` must be a picture of 8 bits. Given: 'label'"),
    "too many pixels": ({"image_size": 100_000}, "fit into a quarter of the memory"),
    "a wrong size": ({"image_size": 0}, "`image_size` must be"),
    "wrong names": ({"class_names": ["a", "b"]}, r"must lie in \[0, 2\)"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments_are_one_line(case, prepared):
    changes, words = BAD[case]
    arguments = {"name": "kt_kinds", "image_size": 8, "data_dir": prepared, **changes}
    with pytest.raises(checks.InputError, match=words) as caught:
        data.from_tfds(arguments.pop("name"), **arguments)
    assert "\n" not in str(caught.value)


def test_a_builder_knows_its_folder(prepared):
    builder = tfds.builder_from_directory(prepared / "kt_kinds" / "1.2.0")
    with pytest.raises(checks.InputError, match="`data_dir` must not be given with a builder"):
        data.from_tfds(builder, data_dir=prepared)


def test_a_set_that_is_not_there_names_the_folder(tmp_path, monkeypatch):
    folder = tmp_path / "empty"
    with pytest.raises(checks.InputError, match="no files in '.*empty/mnist/3.0.1'") as caught:
        data.from_tfds("mnist", data_dir=folder, download=False)
    assert "\n" not in str(caught.value)

    def refuse(*arguments, **options):
        raise ConnectionError("Name or service not known\nsecond line")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", refuse)
    words = "or there must be a network.*empty/mnist/3.0.1', and ConnectionError: Name or service"
    with pytest.raises(checks.InputError, match=words) as caught:
        data.from_tfds("mnist", data_dir=folder)
    assert "\n" not in str(caught.value)


def test_what_does_not_fit_is_refused_before_it_is_read(prepared, monkeypatch):
    needed = 36 * 8 * 8 * 3
    options = {"image_size": 8, "data_dir": prepared}
    monkeypatch.setattr(memory, "free_memory", lambda: 4 * needed)
    data.from_tfds("kt_kinds", **options)
    monkeypatch.setattr(memory, "free_memory", lambda: 4 * needed - 1)
    monkeypatch.setattr(tfds.core.DatasetBuilder, "as_dataset", None)
    with pytest.raises(checks.InputError, match="Given: 36 images of"):
        data.from_tfds("kt_kinds", **options)


@pytest.mark.parametrize("harm", ["cut records", "cut json", "no records", "no picture"])
def test_damaged_files_are_one_line(harm, tmp_path):
    KtKinds(data_dir=tmp_path).download_and_prepare()
    folder = tmp_path / "kt_kinds" / "1.2.0"
    records = next(folder.glob("*train*record*"))
    if harm == "cut records":
        records.write_bytes(records.read_bytes()[:-20])
    elif harm == "no records":
        records.unlink()
    elif harm == "no picture":
        content = tf.data.TFRecordDataset(str(records))
        with tf.io.TFRecordWriter(str(records) + ".new") as writer:
            for record in content:
                writer.write(record.numpy().replace(b"\xff\xd8\xff", b"\x00\x00\x00"))
        (folder / (records.name + ".new")).rename(records)
    else:
        info = folder / "dataset_info.json"
        info.write_text(info.read_text()[:100])
    with pytest.raises(checks.InputError) as caught:
        data.from_tfds("kt_kinds:1.2.0", image_size=8, data_dir=tmp_path, download=False)
    assert "\n" not in str(caught.value)
    assert "kt_kinds" in str(caught.value)


KNOWN = {
    "mnist": {},
    "cifar10": {},
    "oxford_flowers102": {},
    "cats_vs_dogs": {},
    "food101": {},
    "svhn_cropped": {},
    "voc/2007": {},
    "coco/2017": {},
    "oxford_iiit_pet": {"targets": {"species": "category", "segmentation_mask": "mask"}},
    "celeb_a": {"targets": {"attributes": "tags"}},
}


def objects_of(builder, *arguments, **options):
    """What tensorflow-datasets cannot make up: two objects an image, with all their features."""
    part = next(
        key for key in ("is_crowd", "is_difficult") if key in builder.info.features["objects"]
    )
    objects = {
        "bbox": tf.constant([[0.0, 0.0, 0.5, 1.0], [0.25, 0.5, 1.0, 1.0]]),
        "label": tf.constant([3, 7], tf.int64),
        part: tf.constant([False, True]),
    }
    one = {"image": tf.constant(encoded(0, 10, 20)), "objects": objects}
    return tf.data.Dataset.from_tensors(one).repeat(12)


@pytest.mark.parametrize("name", KNOWN)
def test_known_sets_are_understood(name):
    """Made-up images of the real form, with labels by chance."""
    is_detection = name.startswith(("voc", "coco"))
    with tfds.testing.mock_data(12, as_dataset_fn=objects_of if is_detection else None):
        found = data.from_tfds(name, image_size=16, validation=None, **KNOWN[name])
        names = found.class_names
    lengths = {
        "mnist": 10, "cifar10": 10, "oxford_flowers102": 102, "cats_vs_dogs": 2, "food101": 101,
        "svhn_cropped": 10, "voc/2007": 20, "coco/2017": 80,
    }  # fmt: skip
    if name in lengths:
        assert len(names) == lengths[name]
    elif name == "celeb_a":
        assert len(names["attributes"]) == 40
    else:
        assert names["species"] == ["Cat", "Dog"]
        assert found.targets["train"]["segmentation_mask"].shape == (12, 16, 16)
    if is_detection:
        expected = [[0, 0, 16, 8, 3, 0], [8, 4, 16, 16, 7, 1]]
        np.testing.assert_array_equal(found.targets["train"], [expected] * 12)
    batch = next(iter(found.train))
    assert batch[0].shape == (12, 16, 16, 3)
    json.dumps(found.notes)
