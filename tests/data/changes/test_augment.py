import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_transfer import losses
from keras_transfer.core import checks
from keras_transfer.data.changes import augment

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (11, 8, 6, 3)).astype("float32")
EVERYTHING = augment.Augment(
    flip="both", rotation=0.1, zoom=0.2, translation=0.2, crop=0.7, colour=0.3, grey=0.3, erase=0.5
)
FIELDS = list(augment.CHECKS)
ALONE = {
    "flip": True, "rotation": 0.1, "zoom": 0.2,
    "translation": 0.2, "crop": 0.7, "colour": 0.3, "grey": 0.5, "erase": 1.0, "randaugment": 2,
}  # fmt: skip


def batches(images=IMAGES, batch_size=4, weights=None):
    rows = (images, np.arange(len(images)))
    return tf.data.Dataset.from_tensor_slices(rows if weights is None else (*rows, weights)).batch(
        batch_size
    )


def pictures(dataset):
    return np.concatenate([element[0] for element in dataset])


def test_passes_differ_and_come_again():
    passes = augment.Passes()
    dataset = EVERYTHING.apply(batches(), seed=3, passes=passes)
    seen = [pictures(dataset) for _ in range(4)]
    assert passes.next == 4
    assert all(not np.array_equal(seen[i], seen[j]) for i in range(4) for j in range(i))
    tf.random.set_seed(5)
    resumed = augment.Passes()
    dataset = EVERYTHING.apply(batches(), seed=3, passes=resumed)
    resumed.next = 2
    np.testing.assert_array_equal(pictures(dataset), seen[2])
    np.testing.assert_array_equal(pictures(dataset), seen[3])
    np.testing.assert_array_equal(pictures(EVERYTHING.apply(batches(), seed=3)), seen[0])
    assert not np.array_equal(pictures(EVERYTHING.apply(batches(), seed=4)), seen[0])


def test_mixtures_come_again_too():
    runs = []
    for number in range(2):
        tf.random.set_seed(number)
        dataset = augment.Augment(flip=True, mixup=0.4, cutmix=1.0).apply(
            batches(), seed=0, classes=11
        )
        runs.append([list(dataset) for _ in range(2)])
    for a, b in zip(*map(tf.nest.flatten, runs), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_same_batch_in_another_place_looks_different():
    dataset = augment.Augment(crop=0.5).apply(
        tf.data.Dataset.from_tensors((IMAGES, 0)).repeat(3), seed=0
    )
    one, two, three = (element[0].numpy() for element in dataset)
    assert not np.array_equal(one, two)
    assert not np.array_equal(two, three)


def test_repeat_goes_on_with_the_next_pass():
    dataset = augment.Augment(crop=0.5).apply(batches(), seed=0)
    twice = pictures(dataset.repeat(2))
    again = augment.Augment(crop=0.5).apply(batches(), seed=0)
    np.testing.assert_array_equal(twice, np.concatenate([pictures(again) for _ in range(2)]))


def test_targets_weights_lengths_and_types_stay():
    weights = RNG.random(11).astype("float32")
    source = batches(IMAGES.astype("uint8"), weights=weights)
    dataset = EVERYTHING.apply(source, seed=0)
    assert dataset.cardinality() == 3
    assert dataset.element_spec[0] == tf.TensorSpec((None, 8, 6, 3), tf.float32)
    assert dataset.element_spec[1:] == source.element_spec[1:]
    for (_, ids, given), (_, own, kept) in zip(dataset, source, strict=True):
        np.testing.assert_array_equal(ids, own)
        np.testing.assert_array_equal(given, kept)


def test_batches_keep_their_order():
    images = np.repeat(np.arange(60, dtype="float32"), 48).reshape(60, 4, 4, 3)
    seen = pictures(
        augment.Augment(flip=True, crop=0.9).apply(batches(images, batch_size=2), seed=0)
    )
    np.testing.assert_allclose(seen[:, 0, 0, 0], np.arange(60), rtol=1e-6)


@pytest.mark.parametrize("name", ALONE)
def test_each_change_does_something_of_its_own_to_each_image(name):
    images = np.repeat(IMAGES[:1], 12, axis=0)
    changed = augment.Augment(**{name: ALONE[name]}).images(images, seed=(1, 2)).numpy()
    kinds = {image.tobytes() for image in changed}
    if name in ("flip", "grey"):
        assert len(kinds) == 2
    else:
        assert len(kinds) > 5


@pytest.mark.parametrize(
    "names", [("flip",), ("rotation",), ("zoom",), ("translation",), ("crop",), ("flip", "crop")]
)
def test_changes_of_places_show_nothing_that_is_not_in_the_image(names):
    white = np.full((200, 9, 12, 3), 255, "float32")
    changed = augment.Augment(**{name: ALONE[name] for name in names}).images(white, seed=(0, 9))
    np.testing.assert_allclose(changed, white, atol=1e-3)


@pytest.mark.parametrize("name", sorted(set(ALONE) - {"randaugment"}))
def test_one_change_more_leaves_the_draws_of_the_others(name):
    """Flips are seen in the order of two halves, whatever else happens."""
    images = np.zeros((40, 8, 8, 3), "float32")
    images[:, :, :4] = 200

    def flipped(**changes):
        changed = (
            augment.Augment(flip=True, **changes)
            .images(images, seed=(0, 7))
            .numpy()
            .mean(axis=(1, 3))
        )
        return changed[:, :3].mean(axis=1) < changed[:, -3:].mean(axis=1)

    small = {"rotation": 0.02, "zoom": 0.1, "translation": 0.1, "crop": 0.9, "erase": 0.0}
    changes = {name: small.get(name, ALONE[name])} if name != "flip" else {}
    np.testing.assert_array_equal(flipped(), flipped(**changes))
    assert 10 < flipped().sum() < 30


@pytest.mark.parametrize(("flip", "sides"), [(True, (2,)), ("vertical", (1,)), ("both", (1, 2))])
def test_flips_by_definition(flip, sides):
    images = RNG.uniform(0, 255, (400, 3, 4, 1)).astype("float32")
    changed = augment.Augment(flip=flip).images(images, seed=(0, 0)).numpy()
    options = [()] + [(side,) for side in sides] + ([sides] if len(sides) == 2 else [])
    equal = np.array([(np.flip(images, axes) == changed).all(axis=(1, 2, 3)) for axes in options])
    np.testing.assert_array_equal(equal.sum(axis=0), 1)
    assert abs(equal.mean(axis=1) - 1 / len(options)).max() < 0.1


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_values_stay_in_range_whatever_the_channels(channels, jit):
    images = RNG.integers(0, 256, (16, 9, 7, channels)).astype("uint8")
    changed = EVERYTHING.images(images, seed=(0, 1), jit=jit)
    assert changed.dtype == tf.float32
    assert changed.shape == images.shape
    assert changed.numpy().min() >= 0
    assert changed.numpy().max() <= 255 + 1e-4


def test_nothing_asked_is_nothing_done():
    nothing = augment.Augment()
    assert repr(nothing) == "Augment()"
    assert nothing.changes == {}
    np.testing.assert_array_equal(nothing.images(IMAGES, seed=(0, 0)), IMAGES)
    np.testing.assert_array_equal(pictures(nothing.apply(batches(), seed=0)), IMAGES)


def test_images_without_a_draw_keep_every_bit():
    """Half are grey, a quarter erased: the others are what they were."""
    images = np.repeat(IMAGES[:1], 60, axis=0)
    changed = augment.Augment(grey=0.5, erase=0.25).images(images, seed=(0, 3)).numpy()
    same = (changed == images).all(axis=(1, 2, 3)).mean()
    assert abs(same - 0.5 * 0.75) < 0.2


def test_the_mean_colour_stays():
    """Jitter is even-handed: over many draws the colours of an image are its own."""
    images = np.broadcast_to(RNG.uniform(90, 160, (1, 2, 2, 3)), (4000, 2, 2, 3)).astype("float32")
    changed = augment.Augment(colour=0.3).images(images, seed=(0, 4)).numpy()
    error = changed.std(axis=0) / np.sqrt(len(changed))
    assert (abs(changed.mean(axis=0) - images[0]) < 4 * error).all()
    assert changed.std(axis=0).min() > 5


def test_draws_fill_their_range():
    """A ramp shows what was drawn: the zoom is its slope, the shift its offset."""
    ramp = np.broadcast_to(
        np.linspace(60, 180, 41, dtype="float32")[None, None, :, None], (500, 3, 41, 1)
    )

    def middle(changed):
        return changed.numpy()[:, 1, 20, 0]

    zoomed = augment.Augment(zoom=0.2).images(ramp, seed=(0, 5)).numpy()
    slopes = 3 / (zoomed[:, 1, 21, 0] - zoomed[:, 1, 20, 0])
    assert 0.79 < slopes.min() < 0.81 < 1.19 < slopes.max() < 1.21
    moved = (middle(augment.Augment(translation=0.25).images(ramp, seed=(0, 6))) - 120) / 3 / 41
    assert -0.251 < moved.min() < -0.24 < 0.24 < moved.max() < 0.251
    cropped = augment.Augment(crop=0.6).images(ramp, seed=(0, 7)).numpy()[:, 1, :, 0]
    shares = (cropped[:, -1] - cropped[:, 0]) / 120
    assert 0.6 < shares.min() < 0.61 < 0.99 < shares.max() <= 1
    ends = np.stack([cropped[:, 0] - 60, 180 - cropped[:, -1]])
    assert (ends > -1e-2).all()
    assert (ends.min(axis=1) < 1).all()


def test_erased_boxes_have_one_colour_and_the_papers_areas():
    images = np.full((300, 20, 30, 3), 300, "float32")  # no erased colour has this value
    changed = augment.Augment(erase=0.5).images(images, seed=(0, 8)).numpy()
    erased = (changed != 300).any(axis=3)
    hit = erased.any(axis=(1, 2))
    assert abs(hit.mean() - 0.5) < 0.1
    areas = erased[hit].mean(axis=(1, 2))
    assert areas.max() <= 0.42
    assert areas.max() > 0.3
    for picture, mask in zip(changed[hit], erased[hit], strict=True):
        assert len(np.unique(picture[mask], axis=0)) == 1
        rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
        assert mask.sum() == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)


@pytest.mark.compiled
def test_eager_and_graph_agree():
    function = tf.function(lambda images, seed: EVERYTHING.images(images, seed))
    one, other = (step(tf.constant(IMAGES), (3, 4)) for step in (EVERYTHING.images, function))
    np.testing.assert_allclose(one, other, atol=1e-3)
    np.testing.assert_array_equal(EVERYTHING.images(IMAGES, (3, 4)), one)


@pytest.mark.compiled
def test_a_compiled_function_can_use_it():
    function = tf.function(
        lambda images, seed: EVERYTHING.images(images, seed, jit=True), jit_compile=True
    )
    seeds = [tf.constant(pair, tf.int64) for pair in ((3, 4), (3, 5))]
    one, again, other = (function(tf.constant(IMAGES), seeds[at]).numpy() for at in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert abs(one - other).max() > 1
    assert one.max() <= 255 + 1e-4


@pytest.mark.parametrize("built", [True, False])
def test_fit_makes_one_pass_an_epoch(built):
    model = keras.Sequential(
        [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(11, "softmax")]
    )
    if built:
        model.build((None, 8, 6, 3))
    model.compile(
        "sgd", losses.Crossentropy(label_smoothing=0.1, class_weights=np.linspace(0.5, 1.5, 11))
    )
    passes = augment.Passes()
    train = augment.Augment(flip=True, mixup=0.2).apply(
        batches(), seed=0, passes=passes, classes=11
    )
    numbers = []
    epochs = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: numbers.append(passes.next)
    )
    history = model.fit(
        train, validation_data=batches(), epochs=3, callbacks=[epochs], shuffle=False, verbose=0
    )
    assert np.isfinite(history.history["loss"] + history.history["val_loss"]).all()
    assert numbers == [1, 2, 3]


def test_a_pass_may_be_set_when_its_epoch_begins():
    model = keras.Sequential(
        [keras.Input((8, 6, 3)), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(1)]
    )
    model.compile(keras.optimizers.SGD(0.0), "mse")

    def losses_of(first, last):
        passes = augment.Passes()
        train = augment.Augment(colour=0.5).apply(batches(), seed=0, passes=passes)
        begin = keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs: setattr(passes, "next", epoch)
        )
        options = {
            "initial_epoch": first,
            "epochs": last,
            "callbacks": [begin],
            "shuffle": False,
            "verbose": 0,
        }
        return model.fit(train, **options).history["loss"]

    whole = losses_of(0, 4)
    assert len(set(whole)) == 4
    assert losses_of(2, 4) == whole[2:]


def test_config_and_names():
    assert augment.Augment.of(json.loads(json.dumps(EVERYTHING.get_config()))) == EVERYTHING
    assert augment.Augment.of(EVERYTHING) is EVERYTHING
    for name, changes in augment.PRESETS.items():
        assert augment.Augment.of(name) == augment.Augment(**changes)
        assert augment.Augment.of(name).changes == changes
        assert not augment.Augment.of(name).mixes
    assert list(augment.Augment().get_config()) == FIELDS
    with pytest.raises(AttributeError):
        EVERYTHING.flip = False


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"flip": "up"}, "`flip` must be one of False, True, 'vertical', 'both'. Given: 'up'"),
        ({"rotation": 1.0}, "`rotation` must be a number at least 0 and below 1"),
        ({"crop": 0}, "`crop` must be a number above 0"),
        ({"crop": 1.5}, "`crop` must be at most 1"),
        ({"grey": -0.1}, "`grey` must be a number at least 0"),
        ({"mixup": -1}, "`mixup` must be a number at least 0"),
        ({"colour": "much"}, "`colour` must be a number"),
    ],
)
def test_wrong_values(arguments, message):
    with pytest.raises(checks.InputError, match=message):
        augment.Augment(**arguments)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("lihgt", "Close names: 'light'"),
        ({"flp": True}, "Close names: 'flip'"),
        (3, "or one of 'light', 'medium', 'strong'"),
    ],
)
def test_wrong_names(value, message):
    with pytest.raises(checks.InputError, match=message):
        augment.Augment.of(value)


def test_wrong_data():
    light = augment.Augment.of("light")
    with pytest.raises(checks.InputError, match="Use `dataset.batch"):
        light.apply(batches().unbatch(), seed=0)
    with pytest.raises(checks.InputError, match="images must come in batches .* Given: dict"):
        light.apply(batches().map(lambda x, y: ({"x": x}, y)), seed=0)
    with pytest.raises(checks.InputError, match="Use `dataset.batch"):
        light.images(IMAGES[0], (0, 0))
    with pytest.raises(checks.InputError, match=r"must give \(images, targets\)"):
        light.apply(batches().map(lambda x, y: {"x": x}), seed=0)
    with pytest.raises(checks.InputError, match="`seed` must be"):
        light.apply(batches(), seed=-1)
    with pytest.raises(checks.InputError, match="Say `classes=n`"):
        augment.Augment(mixup=0.2).apply(batches(), seed=0)
