"""Which folders are classes and which are splits."""

import pytest

from keras_transfer.core import checks
from keras_transfer.storage import listing


def make(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


def test_folders_named_like_splits_that_hold_class_folders(tmp_path):
    root = make(
        tmp_path, "training/cat/1.jpg", "training/dog/1.jpg", "Val/cat/1.jpg", "notes/read.me"
    )
    found = listing.find_splits(root)
    assert found == {"train": root / "training", "validation": root / "Val"}
    assert listing.class_names_of(root) == ["cat", "dog"]


def test_a_class_may_be_called_train(tmp_path):
    root = make(tmp_path, "train/1.jpg", "bus/1.jpg", "bus/red/1.jpg")
    assert listing.find_splits(root) == {}
    assert listing.class_names_of(root) == ["bus", "train"]
    names, files = listing.list_classes(root)
    assert names == ["bus", "train"]
    assert files.names() == ["bus/1.jpg", "bus/red/1.jpg", "train/1.jpg"]
    assert files.ids.tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["train/cat/1.jpg", "val/cat/1.jpg", "dog/1.jpg"],
            r"folders of classes or folders of splits, not both. Given: 'dog' beside 'train', 'val' in .* Move 'dog'",
        ),
        (["test/cat/1.jpg", "val/cat/1.jpg"], "a folder 'train' beside.*only 'test', 'val'"),
        (
            ["train/cat/1.jpg", "val/cat/1.jpg", "valid/cat/1.jpg"],
            "one folder for validation. Given: 'val' and 'valid'",
        ),
        (["train/1.jpg", "test/1.jpg"], "images without class folders in 'test', 'train'"),
    ],
)
def test_layouts_that_may_mean_two_things(names, message, tmp_path):
    with pytest.raises(checks.InputError, match=message):
        listing.find_splits(make(tmp_path, *names))
