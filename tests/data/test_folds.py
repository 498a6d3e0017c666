"""Cross-validation over data of every kind, and groups of folders and arrays."""

import io

import numpy as np
import pytest
from PIL import Image

from keras_transfer import data
from keras_transfer.core import checks


def pictures(count):
    return np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3), np.uint8)


def contents(examples):
    pixels = examples.pixels.numpy()
    return [pixels[row].tobytes() for row in examples.rows]


def test_every_example_is_held_out_once_and_the_test_split_stays():
    images = pictures(50)
    labels = {"kind": [*("ab" * 24), None, "a"], "age": np.arange(50.0)}
    whole = data.from_arrays(images, labels, test=0.2, seed=1)
    folds = whole.folds(4)
    held = [content for fold in folds for content in contents(fold.examples["validation"])]
    known = {image.tobytes(): age for image, age in zip(images, labels["age"], strict=True)}
    testing = contents(whole.examples["test"])
    assert sorted(held + testing) == sorted(known)
    for fold in folds:
        assert contents(fold.examples["test"]) == testing
        seen = contents(fold.examples["train"]) + contents(fold.examples["validation"])
        assert sorted(seen + testing) == sorted(known)
        for split in ("train", "validation"):
            ages = [known[content] for content in contents(fold.examples[split])]
            np.testing.assert_array_equal(ages, fold.targets[split]["age"])
        kinds = fold.targets["validation"]["kind"][fold.weights["validation"]["kind"] > 0]
        assert abs(np.bincount(kinds)[0] - np.bincount(kinds)[1]) <= 1
    again, other = whole.folds(4)[0], whole.folds(4, seed=5)[0]
    assert contents(again.examples["validation"]) == contents(folds[0].examples["validation"])
    assert contents(other.examples["validation"]) != contents(folds[0].examples["validation"])
    assert len({fold.digest for fold in [*folds, whole, other]}) == 6


def test_groups_of_arrays_stay_together_in_splits_and_folds():
    patients = [f"p{number // 4}" for number in range(80)]
    images = pictures(80)
    patient_of = dict(zip(map(np.ndarray.tobytes, images), patients, strict=True))
    whole = data.from_arrays(images, ["a", "b"] * 40, test=0.2, group=patients)
    for divided in (whole, *whole.folds(4)):
        owners = [
            {patient_of[content] for content in contents(examples)}
            for examples in divided.examples.values()
        ]
        assert len(set.union(*owners)) == sum(map(len, owners)) == 20
        assert np.bincount(divided.targets["validation"]).tolist() == [8, 8]


def test_what_is_made_of_data_keeps_its_groups():
    whole = data.from_arrays(
        pictures(12),
        {"kind": [*"ababab", None, *"babab"], "age": np.arange(12.0)},
        group=np.repeat(np.arange(6), 2),
    )
    only = whole.only("kind")
    for split, rows in only.groups.items():
        assert len(rows) == len(only.examples[split])
    mixed = data.mix({"one": whole, "two": data.from_arrays(pictures(6), np.arange(6.0))})
    for split, examples in mixed.examples.items():
        assert len(mixed.groups[split]) == len(examples)
    assert len(np.unique(np.concatenate(list(mixed.groups.values())))) == 6 + 6
    folds = mixed.folds(3)
    held = [fold.groups["validation"] for fold in folds]
    assert sum(map(len, held)) == 18
    assert sum(len(np.unique(rows)) for rows in held) == 12


@pytest.fixture
def photos(tmp_path):
    """Two classes, six patients with three photos each in both, and a copy of one photo."""
    for number, pixels in enumerate(pictures(36)):
        kind, patient = "ab"[number % 2], number // 6
        file = tmp_path / "photos" / kind / f"p{patient}_{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        content = io.BytesIO()
        Image.fromarray(pixels).save(content, "PNG")
        file.write_bytes(content.getvalue())
    copy = tmp_path / "photos" / "a" / "p3_copy.png"
    copy.write_bytes((tmp_path / "photos" / "a" / "p0_0.png").read_bytes())
    return tmp_path / "photos"


def patients_of(files):
    return {file.rpartition("/")[2].partition("_")[0] for file in files}


def test_groups_of_a_folder_come_from_names_and_copies_join_them(photos):
    options = {"image_size": 8, "validation": 0.3}
    found = data.from_folder(photos, group="/(p[0-9]+)_", **options)
    same = data.from_folder(photos, group=lambda name: name.split("/")[1].split("_")[0], **options)
    assert found.files == same.files
    for divided in (found, *found.folds(3)):
        owners = [patients_of(files) for files in divided.files.values()]
        assert sum(map(len, owners)) == 6
        assert any({"p0", "p3"} <= owner for owner in owners)


def test_folds_of_a_folder_do_not_depend_on_the_splits(photos):
    """They are dealt out by name, so that data of another `validation` has the same folds."""
    first, second = (data.from_folder(photos, image_size=8, validation=v) for v in (0.2, 0.4))
    for one, other in zip(first.folds(4), second.folds(4), strict=True):
        assert sorted(one.files["validation"]) == sorted(other.files["validation"])
    copies = [
        [file for file in fold.files["validation"] if file.endswith(("p0_0.png", "copy.png"))]
        for fold in first.folds(4)
    ]
    assert sorted(map(len, copies)) == [0, 0, 0, 2]


@pytest.mark.parametrize(
    ("group", "words"),
    [
        ("(p[0-9]+", "must be a regular expression or a function.*missing \\)"),
        ("q[0-9]", "must be found in every file's name. Given: 'a/p"),
        (7, "must be a regular expression or a function.*Given: 7"),
        (lambda name: [name], "must hold names of groups. Given: \\['a/p"),
    ],
)
def test_what_is_no_group_of_files_is_refused(photos, group, words):
    with pytest.raises(checks.InputError, match=words):
        data.from_folder(photos, image_size=8, group=group)


def test_a_group_in_two_folders_is_refused(photos, tmp_path):
    for kind in "ab":
        (tmp_path / "test" / kind).mkdir(parents=True)
        (photos / kind / f"p0_{'ab'.index(kind)}.png").rename(tmp_path / "test" / kind / "p0_x.png")
    (photos / "a" / "p3_copy.png").unlink()
    with pytest.raises(
        checks.InputError, match="each `group` must be in one split. Given: 'p0' in"
    ):
        data.from_folder(photos, test=tmp_path / "test", image_size=8, group="/(p[0-9]+)_")


@pytest.mark.parametrize("count", [1, 0, 2.5, "5"])
def test_folds_need_a_number(count):
    whole = data.from_arrays(pictures(4), list("abab"), validation=None)
    with pytest.raises(checks.InputError, match="`count` must be a whole number of at least 2"):
        whole.folds(count)


def test_more_folds_than_images_are_refused():
    whole = data.from_arrays(pictures(4), list("abab"), validation=None)
    with pytest.raises(checks.InputError, match="images for 5 folds. Given: 4 images"):
        whole.folds(5)
