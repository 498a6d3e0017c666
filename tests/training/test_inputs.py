"""What data and model must agree on is found before training starts, without counting a pass."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_transfer as kt
from keras_transfer.core import checks
from keras_transfer.training import inputs


def pictures(count, size=32):
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)


def dataset(images, batch_size=4):
    return tf.data.Dataset.from_tensor_slices((images, np.arange(len(images)) % 2)).batch(
        batch_size
    )


@pytest.fixture(scope="module")
def tiny():
    return kt.build_model(kt.backbone("tiny", weights=None), kt.tasks.Classification(2))


@pytest.fixture(scope="module")
def plain():
    image = keras.Input((32, 32, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(2, 3)(image))
    model = keras.Model(image, keras.layers.Softmax()(x))
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model


def checked(model, data):
    return inputs.check(model, inputs.inputs(data))


@pytest.mark.parametrize("part", ["train", "validation"])
@pytest.mark.parametrize("scale", [1 / 255, np.nan], ids=["0..1", "NaN"])
def test_images_that_are_no_pixels(tiny, part, scale):
    good, bad = dataset(pictures(6)), dataset((pictures(6) * scale).astype("float32"))
    data = (bad, good) if part == "train" else (good, bad)
    with pytest.raises(
        checks.InputError, match=rf"images of {part} must have (values 0\.\.255|finite values)"
    ):
        checked(tiny, data)
    with pytest.raises(checks.InputError, match=rf"images of {part} must"):
        kt.fine_tune(tiny, data, epochs=(1, 1), verbose=0)


def test_pixels_pass_without_a_remark(tiny, plain):
    for images in (pictures(6), pictures(6).astype("float32"), pictures(6) // 200):
        assert checked(tiny, (dataset(images), dataset(images))).remarks == ()
    assert checked(plain, dataset((pictures(6) / 255).astype("float32"))).remarks == ()


def test_a_plain_network_fed_pixels_is_remarked(plain):
    given = checked(plain, dataset(pictures(6)))
    (remark,) = given.remarks
    assert remark.startswith("images of train: the model has no rescaling inside")
    assert given.notes == (remark,)
    stages = [kt.Stage(epochs=1, train="all", learning_rate=1e-5)]
    history = kt.fine_tune(plain, dataset(pictures(6)), stages=stages, verbose=0)
    assert remark in history.record["notes"]


def test_a_dark_start_is_no_mistake(tiny):
    images = np.concatenate([pictures(4) / 300, pictures(4)]).astype("float32")
    assert checked(tiny, dataset(images)).remarks == ()
    with pytest.raises(checks.InputError, match="Multiply them by 255"):
        checked(tiny, dataset(images[:4], batch_size=2))


def test_looking_counts_no_pass_over_the_training_data(tiny):
    data = kt.data.from_arrays(pictures(20), np.arange(20) % 2, batch_size=4)
    expected = data.order(0)
    checked(tiny, data)
    assert data.epochs.next == 0
    first = np.concatenate([targets for _, targets in data.train.as_numpy_iterator()])
    np.testing.assert_array_equal(first, data.targets["train"][expected])


def test_little_more_than_a_batch_is_read(plain):
    """tf.data itself reads a little ahead; what a suspicion would read is far more."""
    read = []

    def watched(at):
        return tf.numpy_function(lambda number: read.append(int(number)) or number, [at], tf.int64)

    images = (
        tf.data.Dataset.range(50)
        .map(watched)
        .map(lambda at: (tf.zeros((4, 32, 32, 3)), tf.zeros((4,), tf.int64)))
    )
    checked(plain, images)
    assert len(read) <= 4


@pytest.mark.parametrize("channels", [1, 4])
def test_another_number_of_channels(tiny, channels):
    images = np.zeros((4, 32, 32, channels), "uint8")
    fix = rf"Set `channels=3` where the data is made, or `channels={channels}` for the backbone"
    with pytest.raises(
        checks.InputError,
        match=rf"images of train must have 3 channels as the model takes\. Given: {channels}\. {fix}",
    ):
        checked(tiny, dataset(images))


def test_another_size(tiny):
    with pytest.raises(
        checks.InputError, match=r"images of train must have shape .*Set `image_size`"
    ):
        checked(tiny, dataset(pictures(4, size=40)))
    with pytest.raises(checks.InputError, match="Batch the dataset"):
        checked(tiny, dataset(pictures(4)).unbatch())


def test_models_of_several_inputs_are_left_alone():
    image, number = keras.Input((32, 32, 3), name="image"), keras.Input((1,), name="number")
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(image))
    model = keras.Model({"image": image, "number": number}, keras.layers.Concatenate()([x, number]))
    parts = {"image": pictures(4) / 255, "number": np.zeros((4, 1))}
    data = tf.data.Dataset.from_tensor_slices((parts, np.zeros(4))).batch(2)
    assert checked(model, data).remarks == ()


SEVERAL = {
    "no label of a task": ({"kind": [0, 1] * 3}, "a target for each task: kind, age. Given: kind"),
    "numbers for classes": (
        {"kind": [0.5] * 6, "age": [1.5] * 6},
        "Task 'kind': `labels` must be class ids",
    ),
    "classes out of range": ({"kind": [0, 1, 2] * 2, "age": [1.5] * 6}, r"Set `classes=3`"),
    "several numbers for one": ({"kind": [0, 1] * 3, "age": [[1.5, 2.5]] * 6}, "`labels`"),
    "labels without a name": (
        [0, 1] * 3,
        "a target for each task: kind, age. Given: one unnamed target",
    ),
}


@pytest.mark.parametrize("case", SEVERAL)
def test_labels_that_do_not_fit_the_tasks(case):
    labels, message = SEVERAL[case]
    tasks = {"kind": kt.tasks.Classification(2), "age": kt.tasks.Regression()}
    model = kt.build_model(kt.backbone("tiny", weights=None), tasks, balancing="uncertainty")
    data = kt.data.from_arrays(pictures(6), labels, validation=None)
    with pytest.raises(checks.InputError, match=message) as caught:
        kt.fine_tune(model, data, epochs=(1, 1), verbose=0)
    assert "\n" not in str(caught.value)
