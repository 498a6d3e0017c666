import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_transfer import data
from keras_transfer.core import checks

pytestmark = pytest.mark.compiled

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (40, 6, 5, 3), dtype=np.uint8)
NAMES = np.array(["ant", "bee", "cow", "dog"])[np.arange(40) % 4]


def flat(dataset):
    pairs = [(x.numpy(), y.numpy()) for x, y in dataset]
    return np.concatenate([x for x, _ in pairs]), np.concatenate([y for _, y in pairs])


def test_splits_hold_every_image_once_with_its_label():
    result = data.from_arrays(IMAGES, NAMES, validation=0.2, test=0.3, seed=4, batch_size=7)
    assert (
        repr(result)
        == "Data(train=20, validation=8, test=12, classes=4, image_size=6x5, batch_size=7)"
    )
    assert result.class_names == ["ant", "bee", "cow", "dog"]
    found = []
    for split in ("train", "validation", "test"):
        x, y = flat(result.ordered(split))
        np.testing.assert_array_equal(y, result.targets[split])
        np.testing.assert_array_equal(np.bincount(y), [len(y) // 4] * 4)
        rows = [int(np.flatnonzero((image == IMAGES).all((1, 2, 3)))[0]) for image in x]
        np.testing.assert_array_equal(NAMES[rows], np.array(result.class_names)[y])
        found += rows
    assert sorted(found) == list(range(40))
    np.testing.assert_array_equal(flat(result.validation)[0], flat(result.ordered("validation"))[0])


def test_the_same_seed_gives_the_same_batches_and_another_does_not():
    runs = []
    for noise, seed in ((1, 5), (2, 5), (3, 6)):
        tf.random.set_seed(noise)
        result = data.from_arrays(IMAGES, NAMES, seed=seed)
        runs.append([flat(result.train)[0] for _ in range(2)])
    np.testing.assert_array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0][0], runs[0][1])
    assert not np.array_equal(runs[0][0], runs[2][0])


def test_set_epoch_repeats_a_pass():
    result = data.from_arrays(IMAGES, NAMES)
    passes = [flat(result.train)[0] for _ in range(3)]
    result.set_epoch(1)
    np.testing.assert_array_equal(flat(result.train)[0], passes[1])
    np.testing.assert_array_equal(flat(result.train)[0], passes[2])
    np.testing.assert_array_equal(flat(result.ordered("train"))[0][result.order(2)], passes[2])
    with pytest.raises(checks.InputError, match="`epoch` must be a whole number"):
        result.set_epoch(-1)


def test_arrays_of_their_own_for_validation_and_test():
    result = data.from_arrays(
        IMAGES[:20],
        NAMES[:20],
        validation=(IMAGES[20:30], NAMES[20:30]),
        test=(IMAGES[30:], NAMES[30:]),
    )
    np.testing.assert_array_equal(flat(result.validation)[0], IMAGES[20:30])
    np.testing.assert_array_equal(flat(result.test)[1], np.arange(30, 40) % 4)
    assert len(result.targets["train"]) == 20


def test_no_splits():
    result = data.from_arrays(IMAGES, NAMES, validation=None)
    assert (result.validation, result.test, list(result.targets)) == (None, None, ["train"])


def test_several_targets_stratify_on_the_first_classes():
    ages = RNG.normal(size=40)
    result = data.from_arrays(IMAGES, {"age": ages, "kind": NAMES}, validation=0.2)
    assert result.class_names == {"kind": ["ant", "bee", "cow", "dog"]}
    np.testing.assert_array_equal(np.bincount(result.targets["validation"]["kind"]), [2] * 4)
    x, y = next(iter(result.train))
    assert y["age"].dtype == tf.float32
    assert y["kind"].dtype == tf.int64
    rows = [int(np.flatnonzero((image == IMAGES).all((1, 2, 3)))[0]) for image in x.numpy()]
    np.testing.assert_array_equal(y["age"], ages[rows].astype(np.float32))


def test_numbers_have_no_class_names():
    result = data.from_arrays(IMAGES, RNG.normal(size=40))
    assert result.class_names is None
    assert len(result.targets["validation"]) == 8


def test_the_digest_tells_content_labels_and_their_order_apart():
    changed = IMAGES.copy()
    changed[3, 0, 0, 0] ^= 1
    digests = [
        data.from_arrays(pixels, names, validation=held, seed=seed).digest
        for pixels, names, held, seed in [
            (IMAGES, NAMES, 0.2, 0),
            (changed, NAMES, 0.2, 0),
            (IMAGES, np.roll(NAMES, 1), 0.2, 0),
            (IMAGES, NAMES, (255 - IMAGES[:4], NAMES[:4]), 0),
            (IMAGES, NAMES, (255 - IMAGES[4:8], NAMES[:4]), 0),
        ]
    ]
    assert len(set(digests)) == 5
    assert data.from_arrays(IMAGES, NAMES, seed=9).digest == digests[0]


def test_whole_floats_are_noted_as_numbers(capsys):
    result = data.from_arrays(IMAGES, np.arange(40) % 3.0)
    assert result.notes == [
        "`labels` holds floats, so the model predicts numbers; give integers if 0..2 are classes"
    ]
    assert capsys.readouterr().out == f"keras_transfer: {result.notes[0]}\n"


def test_absent_classes_and_empty_splits_are_noted():
    labels = np.array(["a"] * 39 + ["b"])
    assert data.from_arrays(IMAGES, labels, validation=0.1).notes == ["no validation images of 'b'"]
    few = data.from_arrays(IMAGES[:2], ["a", "b"], validation=0.2)
    assert few.notes == [
        "too few images for a validation share of 0.2: there is no validation split"
    ]
    assert few.validation is None


def test_summary_counts_by_class_and_split():
    lines = data.from_arrays(IMAGES, NAMES, validation=0.2, test=0.3).summary().splitlines()
    assert lines[0].split() == ["class", "train", "validation", "test"]
    assert lines[1].split() == ["ant", "5", "2", "3"]
    assert lines[5].split() == ["all", "20", "8", "12"]
    assert lines[6] == "6 x 5 pixels, batches of 32, seed 0, decoded once and kept in memory"
    several = data.from_arrays(IMAGES, {"age": np.arange(40.0), "kind": NAMES}).summary()
    assert "age" in several
    assert "bee" in several


def test_fit_takes_it_as_it_is():
    result = data.from_arrays(IMAGES, NAMES)
    model = keras.Sequential(
        [keras.Input((6, 5, 3)), keras.layers.Flatten(), keras.layers.Dense(4, "softmax")]
    )
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(
        result.train, validation_data=result.validation, epochs=3, verbose=0, shuffle=False
    )
    assert len(history.history["val_accuracy"]) == 3


PAIR = (255 - IMAGES[:4], NAMES[:4])
BAD = {
    "lengths": ((IMAGES, NAMES[:-1], {}), "the same length. Given: 40 images, 39 labels"),
    "lengths in a dict": (
        (IMAGES, {"kind": NAMES[:-1]}, {}),
        r"`labels\['kind'\]` must have the same length",
    ),
    "out of range": (
        (IMAGES, np.arange(40) % 4, {"class_names": ["a", "b", "c"]}),
        r"\[0, 3\). Given: 3 at index 3",
    ),
    "float class ids": (
        (IMAGES, np.arange(40) % 4.0, {"class_names": list("abcd")}),
        "Class ids are integers",
    ),
    "shares": (
        (IMAGES, NAMES, {"validation": 0.5, "test": 0.5}),
        "together must be below 1. Given: 0.5 [+] 0.5",
    ),
    "nan": ((np.full((40, 6, 5), np.nan), NAMES, {}), "must be finite"),
    "scaled": ((IMAGES / 255, NAMES, {}), r"Use `255 \* images`"),
    "class without training images": (
        (IMAGES, NAMES, {"class_names": ["ant", "bee", "cow", "dog", "emu"]}),
        "every class must have a training image. Given: none of 'emu'",
    ),
    "unknown validation class": (
        (IMAGES, NAMES, {"validation": (IMAGES[:1], ["cat"])}),
        "among the class names",
    ),
    "validation of another size": (
        (IMAGES, NAMES, {"validation": (IMAGES[:4, :5], NAMES[:4])}),
        "must be 6x5",
    ),
    "validation lengths": (
        (IMAGES, NAMES, {"test": (IMAGES[:3], NAMES[:4])}),
        r"`test\[0\]` and `test\[1\]`",
    ),
    "three things": ((IMAGES, NAMES, {"validation": (1, 2, 3)}), "must be a share or"),
    "batch size": ((IMAGES, NAMES, {"batch_size": 0}), "`batch_size` must be a whole number"),
    "seed": ((IMAGES, NAMES, {"seed": -1}), "`seed` must be a whole number"),
    "channels": (
        (IMAGES, NAMES, {"channels": 5}),
        r"`images` must have 5 channels. Given: shape \(40, 6, 5, 3\)",
    ),
    "no channels": (
        (IMAGES, NAMES, {"channels": 0}),
        "`channels` must be a whole number of at least 1",
    ),
    "image size": ((IMAGES, NAMES, {"image_size": (1, 2, 3)}), "a whole number or a pair"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused(case):
    (images, labels, options), message = BAD[case]
    with pytest.raises(checks.InputError, match=message) as caught:
        data.from_arrays(images, labels, **options)
    assert "\n" not in str(caught.value)


def test_image_size_resizes_all_splits():
    result = data.from_arrays(
        IMAGES, NAMES, image_size=4, validation=PAIR, test=(255 - IMAGES[4:8, :5], NAMES[4:8])
    )
    assert result.image_size == (4, 4)
    assert all(
        x.shape[1:] == (4, 4, 3)
        for split in ("train", "validation", "test")
        for x, _ in result.ordered(split)
    )


@pytest.mark.parametrize(
    ("has", "channels", "count"), [(1, 1, 1), (2, None, 2), (3, 1, 1), (4, 4, 4), (1, None, 3)]
)
def test_channels_are_those_the_model_takes(has, channels, count, capsys):
    pixels = RNG.integers(0, 256, (12, 8, 8, has), dtype=np.uint8)
    ids = np.arange(12) % 2
    found = data.from_arrays(pixels[:8], ids[:8], channels=channels, test=(pixels[8:], ids[8:]))
    assert found.channels == count
    assert [batch.shape[1:] for batch, _ in found.train] == [(8, 8, count)]
    assert found.test.element_spec[0].shape == (None, 8, 8, count)
    if has == count:
        np.testing.assert_array_equal(flat(found.test)[0], pixels[8:])
    note = "the images have 2 channels: make the backbone with `channels=2`"
    assert (note in found.notes) == (note in capsys.readouterr().out) == (has == 2)
    shown = {
        1: ("channels=1, ", "8 x 8 pixels of 1 channel,"),
        2: ("channels=2, ", "8 x 8 pixels of 2 channels,"),
    }
    text, line = shown.get(count, ("image_size=8x8", "8 x 8 pixels"))
    assert text in repr(found)
    assert line in found.summary()
    assert ("channels" in repr(found)) == (count != 3)


def test_held_out_arrays_are_brought_to_the_channels_of_the_training_images():
    ids = np.arange(4) % 2
    grey, coloured = (
        RNG.integers(0, 256, (4, 8, 8), dtype=np.uint8),
        RNG.integers(0, 256, (4, 8, 8, 3), dtype=np.uint8),
    )
    assert flat(data.from_arrays(coloured, ids, validation=(grey, ids)).validation)[0].shape == (
        4,
        8,
        8,
        3,
    )
    assert flat(data.from_arrays(grey, ids, channels=1, validation=(coloured, ids)).validation)[
        0
    ].shape == (4, 8, 8, 1)
    with pytest.raises(
        checks.InputError,
        match=r"`validation\[0\]` must have 3 channels. Given: shape \(4, 8, 8, 2\)",
    ):
        data.from_arrays(coloured, ids, validation=(coloured[..., :2], ids))


def test_copies_of_training_images_in_held_out_arrays_are_noted_or_refused():
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
    ids = np.arange(6) % 2
    with pytest.raises(
        checks.InputError, match="`test` must have images of its own. Given: training images only"
    ):
        data.from_arrays(pixels, ids, validation=0, test=(pixels, ids))
    found = data.from_arrays(pixels[:4], ids[:4], validation=0, test=(pixels[3:], ids[3:]))
    assert (
        "1 of 3 test images are among the training images, too: scores on them are too good"
        in found.notes
    )


def test_one_hot_rows_are_classes_and_a_line_says_so(capsys):
    images = np.zeros((4, 8, 8), "uint8")
    for rows in (np.eye(2)[[0, 1, 1, 0]], {"kind": np.eye(2, dtype=int)[[0, 1, 1, 0]]}):
        targets = data.from_arrays(images, rows, validation=None).targets["train"]
        targets = targets["kind"] if isinstance(targets, dict) else targets
        assert targets.tolist() == [0, 1, 1, 0]
        assert "are one-hot rows: taken as classes" in capsys.readouterr().out


def test_a_rare_class_of_a_second_target_is_trained_on():
    labels = {"kind": NAMES, "rare": ["x"] * 38 + ["y", "x"]}
    for seed in range(4):
        found = data.from_arrays(IMAGES, labels, validation=0.9, seed=seed)
        assert 1 in found.targets["train"]["rare"]
