import functools
import io
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from networks import small
from PIL import Image

import keras_transfer as kt
from keras_transfer import data
from keras_transfer.core import checks
from keras_transfer.data.sources import decoding
from keras_transfer.machine import memory, streams
from keras_transfer.storage import images

pytestmark = pytest.mark.compiled

CLASSES = ("ant", "bee", "cow")


def picture(seed, form="PNG"):
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()


def fill(root, count=10, start=0, classes=CLASSES):
    for number, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for at in range(count):
            (root / name / f"{at}.png").write_bytes(picture(start + 100 * number + at))
    return root


@pytest.fixture
def photos(tmp_path):
    return fill(tmp_path / "photos")


def flat(dataset):
    pairs = [(x.numpy(), y.numpy()) for x, y in dataset]
    return np.concatenate([x for x, _ in pairs]), np.concatenate([y for _, y in pairs])


def test_batches_hold_the_files_that_are_listed(photos):
    result = data.from_folder(
        photos, test=0.2, validation=0.1, image_size=(8, 6), batch_size=4, seed=3
    )
    assert (
        repr(result)
        == "Data(train=21, validation=3, test=6, classes=3, image_size=8x6, batch_size=4)"
    )
    assert result.class_names == list(CLASSES)
    everything = [path for files in result.files.values() for path in files]
    assert sorted(everything) == sorted(map(str, photos.glob("*/*.png")))
    for split, files in result.files.items():
        x, y = flat(result.ordered(split))
        for image, label, file in zip(x, y, files, strict=True):
            np.testing.assert_array_equal(image, images.load(file, (8, 6)))
            assert f"/{CLASSES[label]}/" in file
        np.testing.assert_array_equal(y, result.targets[split])
        np.testing.assert_array_equal(np.bincount(y), [len(y) // 3] * 3)


def test_decoding_once_gives_the_same_batches_as_in_every_pass(photos):
    kept, read = (
        data.from_folder(photos, image_size=8, seed=1, cache=cache) for cache in ("memory", "off")
    )
    assert (kept.is_cached, read.is_cached) == (True, False)
    assert kept.digest == read.digest
    for _ in range(2):
        for one, other in zip(flat(kept.train), flat(read.train), strict=True):
            np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(flat(kept.validation)[0], flat(read.validation)[0])


@pytest.mark.parametrize("channels", [1, 4])
def test_files_are_decoded_to_the_channels(photos, channels):
    found = data.from_folder(photos, image_size=8, test=0.2, channels=channels, cache="memory")
    read = data.from_folder(photos, image_size=8, test=0.2, channels=channels, cache="off")
    assert found.channels == read.channels == channels
    x, _ = flat(found.test)
    np.testing.assert_array_equal(x, flat(read.test)[0])
    np.testing.assert_array_equal(x, data.load_images(found.files["test"], 8, channels=channels))
    for image, file in zip(x, found.files["test"], strict=True):
        np.testing.assert_array_equal(image, images.load(file, (8, 8), channels=channels))
    measured = data.labelled_folder(photos, CLASSES, image_size=8, channels=channels)
    assert measured.test.element_spec[0].shape == (None, 8, 8, channels)


def test_files_hold_no_other_number_of_channels(photos):
    for read in (data.from_folder, functools.partial(data.labelled_folder, class_names=CLASSES)):
        with pytest.raises(checks.InputError, match="`channels` must be one of 1, 3, 4. Given: 2."):
            read(photos, channels=2)
    with pytest.raises(checks.InputError, match="`channels` must be one of 1, 3, 4. Given: 2."):
        data.load_images([photos / "ant" / "0.png"], 8, channels=2)


def test_memory_decides_and_the_decision_is_noted(photos, monkeypatch, capsys):
    result = data.from_folder(photos, image_size=8)
    assert result.notes == ["30 images are resized to 8x8 pixels and kept in memory (0.0 MB)"]
    assert f"keras_transfer: {result.notes[0]}\n" in capsys.readouterr().out
    monkeypatch.setattr(memory, "free_memory", lambda: 4 * 30 * 8 * 8 * 3 - 1)
    result = data.from_folder(photos, image_size=8)
    assert not result.is_cached
    assert "from their files in every epoch: they would take up too much memory" in result.notes[0]
    assert data.from_folder(photos, image_size=8, cache="memory").is_cached


def test_photos_that_do_not_fit_are_read_in_training_first(photos, monkeypatch, capsys):
    checked = data.from_folder(photos, image_size=8, test=0.2, cache="off")
    monkeypatch.setattr(memory, "free_memory", lambda: 0)
    with monkeypatch.context() as patched:
        patched.setattr(decoding, "decode_files", None)
        result = data.from_folder(photos, image_size=8, test=0.2)
    printed = capsys.readouterr().out
    assert "files are read for the first time in training: one that cannot be read is an" in printed
    assert result.files == checked.files
    for one, other in zip(flat(result.train), flat(checked.train), strict=True):
        np.testing.assert_array_equal(one, other)
    assert data.from_folder(photos, image_size=8, test=0.2).digest == result.digest

    (photos / "bee" / "3.png").write_bytes(picture(0)[:-40])
    result = data.from_folder(photos, image_size=32, test=0.2, validation=None, batch_size=24)
    bad = next(
        split for split, names in result.files.items() if any("bee/3.png" in name for name in names)
    )
    message = r"every file must be a readable image.*bee/3\.png \(damaged or cut off\)\. Repair"
    with pytest.raises(checks.InputError, match=message), streams.telling():
        list(getattr(result, bad))
    model = kt.build_model(small(), kt.tasks.Classification(3))
    with pytest.raises(checks.InputError, match=message):
        kt.evaluate(model, getattr(result, bad))
    left = data.from_folder(photos, image_size=8, corrupt="skip")
    assert sum(map(len, left.files.values())) == 29


def test_a_folder_takes_little_memory_for_a_file(tmp_path, monkeypatch):
    count = 3000
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for at in range(count // 2):
            (tmp_path / name / f"picture_{at:07}.jpg").touch()
    monkeypatch.setattr(memory, "free_memory", lambda: 0)
    tracemalloc.start()
    try:
        found = data.from_folder(tmp_path)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sum(map(len, found.files.values())) == count
    assert kept / count < 200
    assert peak / count < 300


def test_the_same_seed_gives_the_same_batches(photos):
    first, again = (data.from_folder(photos, image_size=8, seed=2) for _ in range(2))
    assert first.files == again.files
    for _ in range(2):
        np.testing.assert_array_equal(flat(first.train)[0], flat(again.train)[0])
    assert data.from_folder(photos, image_size=8, seed=3).files != first.files


def test_folders_for_validation_and_test(photos, tmp_path):
    fill(tmp_path / "more", count=2, start=1000, classes=CLASSES[:2])
    fill(tmp_path / "test", count=3, start=2000)
    result = data.from_folder(
        photos, validation=tmp_path / "more", test=str(tmp_path / "test"), image_size=8
    )
    assert [len(files) for files in result.files.values()] == [30, 4, 9]
    np.testing.assert_array_equal(result.targets["validation"], [0, 0, 1, 1])
    assert result.notes[-1] == "no validation images of 'cow'"


def test_a_folder_that_is_split_already(tmp_path, capsys):
    """Its folders are taken by themselves, unless the call says something else."""
    root = tmp_path / "photos"
    fill(root / "Train", count=4)
    fill(root / "valid", start=1000, count=1)
    fill(root / "test", start=2000, count=2, classes=CLASSES[1:])
    options = {"image_size": 8, "batch_size": 4}
    whole = data.from_folder(root, **options)
    uses = "training images from 'Train', validation images from 'valid', test images from 'test'"
    line = f"'{root}' is split already: {uses}"
    assert whole.notes[0] == line
    assert f"keras_transfer: {line}\n" in capsys.readouterr().out
    assert whole.class_names == list(CLASSES)
    named = data.from_folder(
        root / "Train", validation=root / "valid", test=root / "test", **options
    )
    assert (whole.files, whole.digest) == (named.files, named.digest)

    own = data.from_folder(root, validation=0.25, test=None, **options)
    assert {split: len(files) for split, files in own.files.items()} == {
        "train": 9,
        "validation": 3,
        "test": 4,
    }
    assert "'valid' is not used, as `validation` was given" in own.notes[0]
    measured = data.labelled_folder(root, CLASSES, **options)
    assert measured.files == {"test": whole.files["test"]}
    shutil.rmtree(root / "test")
    with pytest.raises(checks.InputError, match="splits without 'test'"):
        data.labelled_folder(root, CLASSES, **options)


def test_files_are_found_at_any_depth_with_any_case_and_others_are_noted(photos):
    (photos / "ant" / "deep" / "er").mkdir(parents=True)
    (photos / "ant" / "deep" / "er" / "x.JPeG").write_bytes(picture(900, "JPEG"))
    (photos / "ant" / "y.WEBP").write_bytes(picture(901, "WEBP"))
    (photos / "ant" / ".hidden.png").write_bytes(b"")
    (photos / ".cache").mkdir()
    (photos / "ant" / ".thumbs").mkdir()
    (photos / "ant" / ".thumbs" / "z.png").write_bytes(b"")
    (photos / "bee" / "notes.txt").write_text("hello")
    (photos / "loose.png").write_bytes(picture(902))
    (photos / "bee" / "phone.HEIC").write_bytes(b"")
    result = data.from_folder(photos, image_size=8)
    assert len(result.targets["train"]) + len(result.targets["validation"]) == 32
    assert result.notes[0] == (
        f"ignored 3 files in '{photos}' that lie in no class folder or do not end as images do: '.heic', "
        "'.png', '.txt'. Save photos in HEIC as JPEG to use them"
    )


def test_links_are_followed_and_circles_are_not(photos, tmp_path):
    shutil.move(photos / "cow", tmp_path / "elsewhere")
    (photos / "cow").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "again").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "album").mkdir()
    (tmp_path / "album" / "x.png").write_bytes(picture(950))
    (photos / "ant" / "album").symlink_to(tmp_path / "album")
    result = data.from_folder(photos, image_size=8, validation=None)
    np.testing.assert_array_equal(np.bincount(result.targets["train"]), [11, 10, 10])


def damage(photos):
    (photos / "ant" / "0.png").write_bytes(b"")
    (photos / "bee" / "1.png").write_bytes((photos / "bee" / "1.png").read_bytes()[:-40])
    jpeg = picture(77, "JPEG")
    (photos / "bee" / "cut.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    (photos / "cow" / "text.jpg").write_text("I am no photo")


def test_unreadable_files_are_named_or_skipped(photos):
    damage(photos)
    named = (
        "ant/0.png (the file is empty), bee/1.png (damaged or cut off), bee/cut.jpg (damaged or cut off), "
        "cow/text.jpg (the bytes are not a JPEG, PNG, WebP, BMP or GIF image)"
    )
    for cache in ("memory", "off"):
        with pytest.raises(checks.InputError) as caught:
            data.from_folder(photos, image_size=8, cache=cache)
        assert f"Given: 4 files are not, of 32: {named}." in str(caught.value)
        assert "\n" not in str(caught.value)
        result = data.from_folder(
            photos, image_size=8, corrupt="skip", cache=cache, validation=None
        )
        assert result.notes[-1] == f"skipped 4 unreadable files: {named}"
        assert len(result.files["train"]) == 28
        x, y = flat(result.ordered("train"))
        for image, label, file in zip(x, y, result.files["train"], strict=True):
            np.testing.assert_array_equal(image, images.load(file, (8, 8)))
            assert f"/{CLASSES[label]}/" in file


def test_folders_of_one_name_are_told_apart(tmp_path):
    roots = [
        fill(tmp_path / part / "photos", count=3, start=start)
        for part, start in (("a", 0), ("b", 500))
    ]
    for root in roots:
        (root / "ant" / "0.png").write_bytes(b"")
    with pytest.raises(checks.InputError, match="Given: 2 files are not, of 18") as caught:
        data.from_folder(roots[0], test=roots[1], image_size=8)
    assert all(f"{root}/ant/0.png (the file is empty)" in str(caught.value) for root in roots)


def test_a_class_that_is_skipped_altogether_is_an_error(photos):
    for path in (photos / "cow").iterdir():
        path.write_bytes(b"")
    with pytest.raises(
        checks.InputError, match=r"every class must have a readable image. Given: none of 'cow'"
    ):
        data.from_folder(photos, image_size=8, corrupt="skip")


@pytest.mark.parametrize("split", ["test", "validation"])
def test_shared_content_is_refused_whatever_its_name(photos, tmp_path, split):
    other = fill(tmp_path / "other", count=2, start=1000)
    shutil.copy(photos / "ant" / "3.png", other / "bee" / "new name.png")
    with pytest.raises(
        checks.InputError, match=f"train and {split} share 1 file; they must share none"
    ) as caught:
        data.from_folder(photos, image_size=8, **{split: other})
    assert f"{photos / 'ant' / '3.png'} = {other / 'bee' / 'new name.png'}" in str(caught.value)


def test_copies_stay_in_one_split(photos):
    for at in range(10):
        shutil.copy(photos / "ant" / f"{at}.png", photos / "ant" / f"copy {at}.png")
    shutil.copy(photos / "ant" / "5.png", photos / "bee" / "also.png")
    for seed in range(4):
        result = data.from_folder(photos, image_size=8, validation=0.3, seed=seed)
        train, held = (
            {Path(path).read_bytes() for path in result.files[split]}
            for split in ("train", "validation")
        )
        assert not train & held
        assert "11 files are copies of others" in result.notes[1]
        assert (
            "1 image has copies in several classes, such as ant/5.png, ant/copy 5.png, bee/also.png"
            in result.notes[2]
        )


def test_the_digest_tells_content_names_and_labels_apart(photos):
    digests = [data.from_folder(photos, image_size=8).digest]
    assert data.from_folder(photos, image_size=6, seed=1).digest == digests[0]
    (photos / "ant" / "3.png").write_bytes(picture(999))
    digests.append(data.from_folder(photos, image_size=8).digest)
    (photos / "ant" / "3.png").rename(photos / "ant" / "33.png")
    digests.append(data.from_folder(photos, image_size=8).digest)
    (photos / "cow").rename(photos / "bat")
    digests.append(data.from_folder(photos, image_size=8).digest)
    assert len(set(digests)) == 4


def test_a_missing_folder_shows_close_names(photos):
    with pytest.raises(
        checks.InputError,
        match=r"a folder that exists\. Given: '.*photo'. Close names there: 'photos'",
    ):
        data.from_folder(photos.parent / "photo")


def test_bad_folders_are_refused(photos, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat" / "a.png").write_bytes(picture(0))
    fill(tmp_path / "one", classes=["ant"])
    fill(tmp_path / "hollow")
    shutil.rmtree(tmp_path / "hollow" / "bee")
    (tmp_path / "hollow" / "bee").mkdir()
    fill(tmp_path / "splits" / "train", count=1)
    fill(tmp_path / "splits" / "test", count=1)
    fill(tmp_path / "unknown", start=3000, count=1, classes=["ant", "beee"])
    (tmp_path / "blank" / "ant").mkdir(parents=True)
    file = photos / "ant" / "0.png"
    bad = [
        (tmp_path / "nowhere", {}, "`path` must be a folder that exists"),
        (file, {}, "`path` must be a folder. Given: the file"),
        (7, {}, "`path` must be a folder. Given: 7"),
        (tmp_path / "empty", {}, "Given: the empty folder"),
        (
            tmp_path / "flat",
            {},
            "Given: 1 images without class folders .* subfolder with its name: photos/cat/1.jpg",
        ),
        (tmp_path / "one", {}, "at least two class folders. Given: only 'ant'"),
        (tmp_path / "hollow", {}, "every class folder must hold images. Given: none in 'bee'"),
        (tmp_path / "splits" / "train" / "ant", {}, "Given: 1 images without class folders"),
        (photos, {"test": tmp_path / "nowhere"}, "`test` must be a folder that exists"),
        (
            photos,
            {"test": tmp_path / "unknown"},
            "`test` must hold known classes only. Given: 'beee'. Close names: 'bee'",
        ),
        (
            photos,
            {"validation": tmp_path / "blank"},
            "`validation` must hold images in class folders",
        ),
        (photos, {"test": photos}, "train and test share 30 files"),
        (photos, {"test": 0.5, "validation": 0.5}, "together must be below 1"),
        (photos, {"corrupt": "skp"}, "`corrupt` must be one of 'error', 'skip'. Given: 'skp'"),
        (photos, {"cache": "disk"}, "`cache` must be one of"),
        (photos, {"image_size": 0}, "`image_size` must be a whole number of at least 1"),
        (photos, {"batch_size": 1.5}, "`batch_size` must be a whole number"),
    ]
    for path, options, message in bad:
        with pytest.raises(checks.InputError, match=message) as caught:
            data.from_folder(path, **options)
        assert "\n" not in str(caught.value)


def test_a_folder_to_measure_on_has_a_test_split_only(tmp_path):
    for name in ("ant", "cow"):
        (tmp_path / name).mkdir()
        Image.fromarray(np.full((9, 9, 3), len(name) + ord(name[0]), "uint8")).save(
            tmp_path / name / "1.png"
        )
    found = data.labelled_folder(tmp_path, ["ant", "bee", "cow"], image_size=8)
    assert found.train is None
    assert found.validation is None
    assert found.targets["test"].tolist() == [0, 2]
    assert "bee" in found.summary()
    assert [file.rpartition("/")[2] for file in found.files["test"]] == ["1.png", "1.png"]
    with pytest.raises(checks.InputError, match="`data` must have training images"):
        found.order(0)


def test_a_folder_to_measure_on_must_hold_known_classes_and_images(tmp_path):
    (tmp_path / "ant").mkdir()
    (tmp_path / "ant" / "1.png").write_bytes(b"")
    with pytest.raises(checks.InputError, match="known classes only"):
        data.labelled_folder(tmp_path, ["bee", "cow"], image_size=8)
    with pytest.raises(checks.InputError, match="1.png"):
        data.labelled_folder(tmp_path, ["ant", "bee"], image_size=8)
    with pytest.raises(checks.InputError, match="must hold a readable image"):
        data.labelled_folder(tmp_path, ["ant", "bee"], image_size=8, corrupt="skip")
