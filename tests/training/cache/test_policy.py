"""The outputs of frozen layers are cached, and nothing else changes: equal to the bit, or not done."""

import dataclasses
import functools
import shutil
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.random import normal
from networks import shallow, small

import keras_transfer as kt
from keras_transfer.core import checks
from keras_transfer.graphs import nodes, paths
from keras_transfer.machine import memory
from keras_transfer.training import freezing, inputs
from keras_transfer.training.cache import frozen, policy, tracing
from keras_transfer.training.rates import search

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (22, 32, 32, 3), dtype="uint8")
LABELS = np.arange(22) % 3
HEAD = kt.Stage(epochs=2, train="head", learning_rate=1e-2)


@pytest.fixture
def data():
    return arrays()


def arrays(pixels=PIXELS, labels=LABELS, **options):
    """Batches of 9, with 17 images for training and 5 for validation."""
    return kt.data.from_arrays(
        pixels, labels, **{"validation": 0.2, "batch_size": 9, "seed": 0, **options}
    )


def model_of(task=None, **options):
    keras.utils.set_random_seed(0)
    return kt.build_model(small(), task or kt.tasks.Classification(3, dropout=0.3), **options)


def weights(model):
    return dict(zip(paths.variables(model), model.get_weights(), strict=True))


def same(one, other):
    for (path, value), found in zip(
        one.items(), other.values(), strict=True
    ):  # automatic names differ
        np.testing.assert_array_equal(value, found, err_msg=path)


def both(make, data, **arguments):
    """Trains twice, with and without the cache; returns the histories, having compared all weights and losses."""
    found = []
    for cache in ("off", "memory"):
        model = make()
        history = kt.fine_tune(model, data, cache=cache, seed=0, verbose=0, **arguments)
        found.append((weights(model), history))
    same(found[0][0], found[1][0])
    for name, values in found[0][1].history.items():
        assert values == found[1][1].history[name], name
    return [history for _, history in found]


def kept(history):
    return [(facts["of"], facts["layers"]) for facts in history.record.get("cache", [])]


# The same, to the bit.


NETWORKS = {
    "MobileNet": ("MobileNet", "block_3*"),
    "within a residual block": ("ResNet", "conv5_block2_2*"),
    "DenseNet": ("DenseNet", "conv5*"),
    "ConvNeXt": ("ConvNeXt", "*stage_3*"),
}


@pytest.mark.compiled
@pytest.mark.parametrize("name", NETWORKS)
def test_networks(name, data):
    family, unfreeze = NETWORKS[name]
    if family == "ConvNeXt":
        # Its matrix products have other last bits for rows of other batches, where it is narrow or batches are larger.
        network, data = shallow(family, widths=(96, 192, 384, 768)), arrays(batch_size=6)
    else:
        network = shallow(family)
    first = network.get_weights()

    def make():
        keras.utils.set_random_seed(1)
        model = kt.build_model(
            network, kt.tasks.Classification(3, dropout=0.3)
        )  # on the layers of `network`
        network.set_weights(first)
        return model

    is_within = name == "within a residual block"
    upper = kt.Stage(epochs=2, train=unfreeze, learning_rate=1e-3)
    history = both(make, data, stages=[HEAD, upper] if is_within else [upper])[1]
    ((of, layers),) = kept(history)  # one pass for both stages and for validation
    assert of == "images"
    assert len(layers) >= (3 if is_within else 1)  # two tensors cross, and what the head takes


@pytest.mark.parametrize(
    "policy", [pytest.param("mixed_float16", marks=pytest.mark.compiled), "mixed_bfloat16"]
)
def test_mixed_precision(policy, data):
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy(policy)
    upper = kt.Stage(epochs=2, train="block3*", learning_rate=1e-3)
    try:
        assert kept(both(model_of, data, stages=[upper])[1])
    finally:
        keras.mixed_precision.set_dtype_policy(before)


def test_several_tasks_and_targets_of_none():
    targets = {"kind": LABELS, "size": LABELS.astype("float32"), "unused": LABELS}
    tasks = {
        "kind": kt.tasks.Classification(3, class_weights="balanced"),
        "size": kt.tasks.Regression(hidden=[4]),
    }
    history = both(
        lambda: model_of(tasks), arrays(labels=targets), epochs=(2, 2), unfreeze="block4*"
    )[1]
    assert kept(history)


@pytest.mark.compiled
def test_ema_rates_by_layer_clipping_and_schedules(data):
    plan = [
        HEAD,
        kt.Stage(
            epochs=3, train="block3*", learning_rate=1e-3, decay=0.7, ema=0.9, clip_norm=0.1, weight_decay=1e-2,
            optimizer="adamw", schedule="cosine", warmup=0.2, early_stopping=2,
        ),
    ]  # fmt: skip
    assert kept(both(model_of, data, stages=plan)[1])


def test_what_a_stage_changed_is_computed_anew(data):
    """The head on a trunk whose upper part the stage before has trained."""
    plan = [HEAD, kt.Stage(epochs=2, train="block4*", learning_rate=1e-2), HEAD]
    history = both(model_of, data, stages=plan)[1]
    assert [len(layers) for _, layers in kept(history)] == [2, 1]


def test_plans_with_other_boundaries(data):
    for plan, epochs, arguments in (
        ("gradual", (2, 6), {}),
        ("surgical", (2, 2), {"unfreeze": ["block2*"]}),
    ):
        assert kept(
            both(
                lambda: model_of(kt.tasks.Classification(3)),
                data,
                plan=plan,
                epochs=epochs,
                **arguments,
            )[1]
        )


def test_a_solved_head_and_the_stage_after_it_share_one_pass(data):
    plan = [
        kt.Stage(solve=True, train="head"),
        kt.Stage(epochs=2, train="block4*", learning_rate=1e-3),
    ]
    assert len(kept(both(lambda: model_of(kt.tasks.Classification(3)), data, stages=plan)[1])) == 1


def test_statistics_that_train_above_the_boundary(data):
    for batch_norm in ("train", "recalibrate"):
        plan = [
            HEAD,
            kt.Stage(epochs=2, train="block4*", learning_rate=1e-3, batch_norm=batch_norm),
            HEAD,
        ]
        assert kept(both(model_of, data, stages=plan)[1])


def test_a_searched_rate_and_a_refit(data, monkeypatch):
    shorter = functools.partial(search.find_learning_rate, steps=30)
    monkeypatch.setattr(search, "find_learning_rate", shorter)
    plan = [kt.Stage(epochs=2, train="block4*", learning_rate="auto")]
    histories = both(model_of, data, stages=plan, refit=True)
    assert (
        histories[0].record["stages"][0]["learning_rate"]
        == histories[1].record["stages"][0]["learning_rate"]
    )


@pytest.mark.compiled
def test_a_users_own_model_that_is_nested(data):
    def make():
        keras.utils.set_random_seed(0)
        inner = keras.Sequential(
            [
                keras.Input((32, 32, 3)),
                keras.layers.Conv2D(4, 3, strides=4),
                keras.layers.BatchNormalization(),
            ],
            name="inner",
        )
        top = [keras.layers.Flatten(), keras.layers.Dropout(0.2), keras.layers.Dense(3, name="top")]
        model = keras.Sequential(
            [keras.Input((32, 32, 3)), keras.layers.Rescaling(1 / 255), inner, *top]
        )
        model.compile(
            "adam",
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        return model

    assert kept(both(make, data, stages=[kt.Stage(epochs=2, only="top", learning_rate=1e-2)])[1])


def test_labels_are_smoothed_above_the_boundary(data):
    change = kt.data.Augment(label_smoothing=0.2)
    assert kept(both(model_of, data, epochs=(2, 2), unfreeze="block4*", augment=change)[1])


# Not cached, with a line.

ONLY_TOP = {"stages": [kt.Stage(epochs=2, only="top")], "epochs": None, "unfreeze": None}


def frozen_part(model):
    """What may be cached of a model whose flags are set."""
    candidates = frozen.candidates(model)
    images = tf.TensorSpec((None, *model.inputs[0].shape[1:]))
    trace = tracing.trace(model, candidates.positions, images)
    return frozen.find(model, candidates, trace.unstable)


class Stop(keras.callbacks.Callback):
    """Ends each stage after one step: enough where the question is what is cached, not what is learnt."""

    def on_train_batch_end(self, batch, logs=None):
        self.model.stop_training = True


def refusal(capsys, model, data, **arguments):
    options = {"epochs": (2, 2), "unfreeze": "block4*", **arguments}
    history = kt.fine_tune(model, data, callbacks=[Stop()], **options, verbose=2)
    assert kept(history) == []
    lines = [
        line for line in history.record["notes"] if "The frozen layers run in every epoch" in line
    ]
    assert all(line in capsys.readouterr().out for line in lines[:1])
    return lines


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (
            {"augment": kt.data.Augment(flip=True)},
            "images are changed at random in each epoch (views=4 takes less time",
        ),
        (
            {"augment": kt.data.Augment(flip=True, mixup=0.2), "views": 2},
            "images are mixed with others in each epoch",
        ),
    ],
)
def test_pictures_that_change(arguments, reason, data, capsys):
    lines = refusal(capsys, model_of(), data, **arguments)
    assert len(lines) == 2
    assert reason in lines[0]


def test_a_plain_dataset(data, capsys):
    lines = refusal(capsys, model_of(), (data.train, data.validation))
    assert (
        "the order of a plain data set is not known (with data from kt.data they run once)"
        in lines[0]
    )


@pytest.mark.parametrize(
    ("options", "method"),
    [({"lora": 2}, "LowRank"), ({"regulariser": kt.training.L2SP(0.1)}, "L2SP")],
    ids=["lora", "regulariser"],
)
def test_stages_that_train_something_else(options, method, data, capsys):
    stage = kt.Stage(epochs=2, train="block4*", **options)
    lines = refusal(capsys, model_of(), data, stages=[stage], epochs=None, unfreeze=None)
    assert f"{method} needs the images in every step" in lines[0]


def test_dropout_in_the_frozen_part(data, capsys):
    reason = "draws at random in training; with its `rate` set to 0 its output could be cached"
    model = own(keras.layers.Dropout(0.2, name="drop"), keras.layers.Conv2D(2, 3, strides=8))
    lines = refusal(capsys, model, data, **ONLY_TOP)
    assert f"'drop' {reason}" in lines[0]
    network = kt.backbone("EfficientNetB0", weights=None, image_size=32)
    model = kt.build_model(network, kt.tasks.Classification(3, dropout=0.3))
    stage = kt.Stage(epochs=2, train="top*")
    with freezing.as_before(model):
        stage.apply(model)
        assert frozen_part(model).reason == f"'block2b_drop' {reason}"
        for layer in paths.leaves(model).values():
            if isinstance(layer, keras.layers.Dropout):
                layer.rate = 0.0
        assert frozen_part(model).reason == ""


def own(*layers, inputs=(32, 32, 3)):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input(inputs), *layers, keras.layers.Flatten(), keras.layers.Dense(3, name="top")]
    )
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def test_random_changes_within_the_model(data, capsys):
    model = own(keras.layers.RandomFlip("horizontal"), keras.layers.Conv2D(2, 3, strides=8))
    lines = refusal(capsys, model, data, **ONLY_TOP)
    assert "'random_flip" in lines[0]


def test_a_layer_of_ones_own_that_asks_whether_it_trains(data, capsys):
    class Doubling(keras.layers.Layer):
        def call(self, inputs, training=None):
            return inputs * 2 if training else inputs

    model = own(Doubling(name="doubling"), keras.layers.Conv2D(2, 3, strides=8))
    lines = refusal(capsys, model, data, **ONLY_TOP)
    assert "'doubling' gives something else in training" in lines[0]


DRAWS = "draws at random in training"


def flipped(images):
    return tf.image.random_flip_left_right(images)


FLIP = keras.layers.RandomFlip("horizontal")


class Noisy(keras.layers.Layer):
    def call(self, inputs):
        return self.__shaken(inputs)

    def __shaken(self, inputs):
        return inputs + keras.random.normal(keras.ops.shape(inputs))


class Counting(keras.layers.Layer):
    def build(self, shape):
        self.count = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, inputs):
        self.count.assign_add(1.0)
        return inputs * self.count


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: keras.layers.Lambda(lambda x: tf.image.random_flip_left_right(x)), DRAWS),
        (lambda: keras.layers.Lambda(lambda x: flipped(x)), DRAWS),
        (lambda: keras.layers.Lambda(tf.function(flipped)), DRAWS),
        (lambda: keras.layers.Lambda(lambda x: tf.nn.dropout(x, 0.5)), DRAWS),
        (lambda: keras.layers.Lambda(lambda x: FLIP(x)), DRAWS),
        (lambda: keras.layers.Lambda(lambda x: x + normal((32, 32, 3))), DRAWS),
        (Noisy, DRAWS),
        (Counting, "has a state that may change in every step (AssignVariableOp)"),
    ],
    ids=["lambda", "its function", "graph", "dropout", "layer", "a name", "method", "count"],
)
def test_code_of_ones_own_that_draws_or_counts(make, reason, data, capsys):
    """Without a `training` argument, in whatever function it stands."""
    layer = make()
    model = own(layer, keras.layers.Conv2D(2, 3, strides=8))
    lines = refusal(capsys, model, data, **ONLY_TOP)
    assert f"{layer.name!r} {reason}" in lines[0]


def drawn(shape, dtype=None):
    return keras.random.uniform(shape)


def channel_shuffle(images):
    return images[..., ::-1]


class Careful(keras.layers.Layer):
    """Draws and counts, but not when it is called; and is never asked for its settings."""

    def build(self, shape):
        self.shift = self.add_weight(shape=(), initializer=drawn)
        self.flip = keras.layers.RandomFlip() if self.name == "flipping" else None

    def call(self, inputs):
        return channel_shuffle(inputs) + self.shift

    def reset(self):
        self.shift.assign(0.0)

    def get_config(self):
        return {**super().get_config(), "width": self.widht}


@pytest.mark.parametrize("where", [pytest.param("memory", marks=pytest.mark.compiled), "disk"])
def test_code_of_ones_own_that_does_so_elsewhere(where, data, tmp_path):
    """Its settings cannot be read, but its graph can."""
    model = own(Careful(), keras.layers.Conv2D(2, 3, strides=8, kernel_initializer=drawn))
    cache = kt.training.Cache(where=where, folder=tmp_path)
    assert kept(kt.fine_tune(model, data, cache=cache, verbose=0, **ONLY_TOP))


@pytest.mark.parametrize("where", [pytest.param("memory", marks=pytest.mark.compiled), "disk"])
def test_python_code_that_its_author_calls_stateless(where, data, tmp_path):
    """It is trusted in memory; on disk nothing could tell it from other code."""

    def negative(images):
        result = tf.numpy_function(np.negative, [images], tf.float32, stateful=False)
        return tf.ensure_shape(result, images.shape)

    layer = keras.layers.Lambda(negative, output_shape=(32, 32, 3))
    model = own(layer, keras.layers.Conv2D(2, 3, strides=8))
    cache = kt.training.Cache(where=where, folder=tmp_path)
    history = kt.fine_tune(model, data, cache=cache, verbose=0, **ONLY_TOP)
    assert bool(kept(history)) == (where == "memory")
    lines = [line for line in history.record["notes"] if "Python code, which has no key" in line]
    assert len(lines) == (where == "disk")


def test_a_layer_of_ones_own_that_adds_a_loss(data, capsys):
    class Sparse(keras.layers.Layer):
        def call(self, inputs):
            self.add_loss(keras.ops.mean(keras.ops.abs(inputs)))
            return inputs

    model = own(Sparse(name="sparse"), keras.layers.Conv2D(2, 3, strides=8))
    lines = refusal(capsys, model, data, **ONLY_TOP)
    assert "'sparse' adds a loss of its own" in lines[0]


def test_a_model_within_the_model_of_which_a_part_trains(data, capsys):
    inner = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            keras.layers.Conv2D(2, 3, strides=4, name="a"),
            keras.layers.Conv2D(2, 3, name="b"),
        ],
        name="inner",
    )
    stage = kt.Stage(epochs=2, train="b")
    lines = refusal(capsys, own(inner), data, stages=[stage], epochs=None, unfreeze=None)
    assert "'inner' is a model within the model; kt.build_model makes flat ones" in lines[0]


def test_pixels_that_are_only_scaled_are_not_kept(data):
    scale = keras.layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[4.0, 4.0, 4.0])
    model = own(
        scale, keras.layers.BatchNormalization(name="bn"), keras.layers.Conv2D(2, 3, strides=8)
    )
    model.get_layer("bn").trainable = False
    assert (frozen_part(model).crossing, frozen_part(model).reason) == ((), "")


def test_a_layer_that_is_called_twice(data, capsys):
    image = keras.Input((32, 32, 3))
    shared = keras.layers.Conv2D(3, 3, padding="same", name="shared")
    x = keras.layers.Dense(3, name="top")(keras.layers.Flatten()(shared(shared(image))))
    model = keras.Model(image, x)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    with freezing.as_before(model):
        shared.trainable = False
        part = frozen_part(model)  # `flatten` crosses
        assert (len(part.crossing), part.reason) == (1, "")
    image = keras.Input((32, 32, 3))
    x = shared(shared(image))
    model = keras.Model(image, keras.layers.Conv2D(3, 32, name="top")(x))
    shared.trainable = False
    assert frozen_part(model).reason == "'shared' is called several times"


def test_statistics_that_train_in_the_prefix(data):
    model = own(
        keras.layers.Conv2D(2, 3, strides=8),
        keras.layers.BatchNormalization(name="bn", scale=False, center=False),
    )
    model.layers[0].trainable = False
    part, changed = frozen_part(model), frozen.candidates(model).changed
    assert [nodes.nodes(model)[at].operation.name for at in sorted(changed)] == ["bn", "top"]
    model.get_layer("bn").trainable = False
    assert len(frozen_part(model).lower) == len(part.lower) + 2


def test_one_epoch_is_computed_as_it_comes(data):
    assert kept(kt.fine_tune(model_of(), data, epochs=(1, 1), unfreeze="block4*", verbose=0)) == []


def test_everything_trains_without_a_line(data):
    history = kt.fine_tune(model_of(), data, plan="full", epochs=2, verbose=0)
    assert not any("aching frozen" in line for line in history.record["notes"])


def test_off(data):
    history = kt.fine_tune(model_of(), data, stages=[HEAD], cache="off", verbose=0)
    assert kept(history) == []
    assert not any("aching frozen" in line for line in history.record["notes"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cache": "ram"}, "`cache` must be one of 'auto', 'memory', 'disk', 'off'. Given: 'ram'"),
        ({"views": 0}, "`views` must be a whole number of at least 1. Given: 0"),
    ],
)
def test_bad_arguments(arguments, message, data):
    with pytest.raises(checks.InputError, match=message):
        kt.fine_tune(model_of(), data, epochs=(1, 1), verbose=0, **arguments)
    with pytest.raises(checks.InputError, match="`dtype` must be one of 'float32', 'float16'"):
        kt.training.Cache(dtype="int8")
    with pytest.raises(
        checks.InputError, match="`precision` must be one of 'float32', 'mixed_bfloat16'"
    ):
        kt.training.Cache(precision="float16")


# Callbacks and resuming.


def test_callbacks_see_the_whole_model(data):
    seen = []

    class Look(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.rate = float(self.model.optimizer.learning_rate)

        def on_epoch_end(self, epoch, logs=None):
            answers = self.model.predict(PIXELS.astype("float32"), verbose=0)
            seen.append(
                (
                    answers.shape,
                    self.rate,
                    self.model.evaluate(data.validation, verbose=0)[0],
                    logs["val_loss"],
                )
            )
            self.model.stop_training = epoch == 1

    model = model_of()
    options = {"stages": [dataclasses.replace(HEAD, epochs=5)], "cache": "memory", "verbose": 0}
    history = kt.fine_tune(model, data, callbacks=[Look()], **options)
    assert history.epoch == [0, 1]
    assert kept(history)
    for shape, rate, loss, logged in seen:
        assert shape == (22, 3)
        assert rate == pytest.approx(1e-2)
        assert loss == pytest.approx(logged, rel=1e-5)


@pytest.mark.parametrize(("where", "at"), [("memory", 3), ("disk", 1)])
def test_an_interrupted_run_goes_on(where, at, data, tmp_path):
    """Broken in the second stage, or in the first one; compiled runs that go on are in tests/cli/test_main.py."""
    arguments = {
        "stages": [HEAD, kt.Stage(epochs=3, train="block4*", learning_rate=1e-3, ema=0.9)],
        "cache": kt.training.Cache(where=where, folder=tmp_path / "cache"),
        "seed": 0,
        "verbose": 0,
    }
    unbroken = model_of()
    kt.fine_tune(unbroken, data, **arguments)

    def stop(epoch, logs):
        if epoch == at:
            raise KeyboardInterrupt

    options = {"run_dir": tmp_path / "run", **arguments}
    stopper = keras.callbacks.LambdaCallback(on_epoch_begin=stop)
    with pytest.raises(KeyboardInterrupt):
        kt.fine_tune(model_of(), arrays(), callbacks=[stopper], **options)
    broken = model_of()
    history = kt.fine_tune(broken, arrays(), resume=True, **options)
    assert kept(history)
    same(weights(unbroken), weights(broken))


# Views.


def test_views_are_drawn_once_and_cycled_through(data):
    """Equal to training on the pictures themselves, view by view."""
    change = kt.data.Augment(flip=True, crop=0.7, label_smoothing=0.1)
    stage = kt.Stage(epochs=4, train="block4*", learning_rate=1e-3)
    ours = model_of(kt.tasks.Classification(3))
    history = kt.fine_tune(ours, data, stages=[stage], augment=change, views=2, seed=0, verbose=0)
    assert kept(history)[0][0] == "views"
    assert history.record["cache"][0]["rows"] == 2 * len(data.targets["train"]) + len(
        data.targets["validation"]
    )

    keeper = policy.Keeper(
        model_of(kt.tasks.Classification(3)),
        dataclasses.replace(inputs.inputs(arrays()), changes=change),
        [stage],
        kt.training.Cache(),
        views=2,
        seed=0,
    )
    views = [images.numpy() for images in keeper.rows.images("views")]
    count = len(data.targets["train"])
    assert len(np.concatenate(views)) == 2 * count + len(data.targets["validation"])
    pictures = np.concatenate(views)[: 2 * count].reshape(2, count, 32, 32, 3)
    assert np.abs(pictures[0] - pictures[1]).max() > 10
    by_hand = model_of(kt.tasks.Classification(3))
    keras.utils.set_random_seed(0)
    stage.apply(by_hand)
    loss = keras.losses.CategoricalCrossentropy(from_logits=False)
    by_hand.compile(keras.optimizers.Adam(1e-3), loss, jit_compile=False)
    values = []
    for epoch in range(4):
        order = data.order(epoch)
        images = pictures[epoch % 2][order]
        answers = np.eye(3)[data.targets["train"][order]] * 0.9 + 0.1 / 3
        batches = tf.data.Dataset.from_tensor_slices((images, answers.astype("float32"))).batch(9)
        values += by_hand.fit(batches, shuffle=False, verbose=0).history["loss"]
    np.testing.assert_allclose(history.history["loss"], values, rtol=1e-4)


# Where it is kept.


def test_auto_takes_memory_then_disk_then_nothing(data, tmp_path, monkeypatch):
    options = {"stages": [HEAD], "verbose": 0}
    for free, max_bytes, expected in ((10**9, None, "memory"), (10, None, "disk"), (10, 10, None)):
        monkeypatch.setattr(memory, "free_memory", lambda free=free: free)
        cache = kt.training.Cache(folder=tmp_path / str(expected), max_bytes=max_bytes)
        history = kt.fine_tune(model_of(), data, cache=cache, **options)
        assert {facts["where"] for facts in history.record.get("cache", [])} == (
            {expected} - {None}
        )
    assert any("their outputs could not be kept" in line for line in history.record["notes"])


def test_a_later_stage_that_has_no_room_does_not_hinder_the_first(data, monkeypatch):
    from keras_transfer.features import writers

    start = writers.Memory.open

    def refuse(self, specs, **options):
        if any("block" in name for name in specs):
            raise OSError(28, "No space left on device")
        return start(self, specs, **options)

    monkeypatch.setattr(writers.Memory, "open", refuse)
    history = kt.fine_tune(model_of(), data, epochs=(2, 2), unfreeze="block4*", seed=0, verbose=0)
    assert [layers for _, layers in kept(history)] == [["classification_pool"]]
    lines = [line for line in history.record["notes"] if "their outputs could not be kept" in line]
    assert [line.split(":")[0][-7:] for line in lines] == ["stage 2"]


def test_half_the_size(data):
    found = [
        kt.fine_tune(
            model_of(),
            data,
            stages=[HEAD],
            cache=kt.training.Cache(dtype=dtype),
            seed=0,
            verbose=0,
        )
        for dtype in ("float32", "float16")
    ]
    sizes = [[facts["bytes"] for facts in history.record["cache"]] for history in found]
    assert sizes[0] == [2 * size for size in sizes[1]]
    np.testing.assert_allclose(found[0].history["loss"], found[1].history["loss"], rtol=1e-2)


@pytest.mark.parametrize("validation", [None, 0.2])
def test_half_the_size_of_several_tasks_and_without_validation(validation):
    tasks = {"kind": kt.tasks.Classification(3), "age": kt.tasks.Regression()}
    data = arrays(labels={"kind": LABELS, "age": LABELS * 2.0}, validation=validation)
    cache = kt.training.Cache(dtype="float16")
    history = kt.fine_tune(model_of(tasks), data, stages=[HEAD], cache=cache, seed=0, verbose=0)
    assert kept(history)
    assert any("kept outputs" in line for line in history.record["notes"]) == (
        validation is not None
    )


def kept_in(precision, data):
    cache = kt.training.Cache(precision=precision)
    return kt.fine_tune(model_of(), data, stages=[HEAD], cache=cache, seed=0, verbose=0)


def test_what_was_measured_on_images_is_not_called_rounded(data):
    """The solved head is the best, and it was measured on images."""
    stages = [kt.Stage(solve=True), kt.Stage(epochs=2, train="block4*", learning_rate=1e-9)]
    cache = kt.training.Cache(dtype="float16")
    history = kt.fine_tune(model_of(), data, stages=stages, cache=cache, seed=0, verbose=0)
    assert kept(history)
    is_told = any("kept outputs" in line for line in history.record["notes"])
    assert is_told == (history.record["best_epoch"] is not None)


@pytest.mark.compiled
@pytest.mark.skipif(not memory.has_bfloat16(), reason="the processor has no bfloat16")
def test_bfloat16_by_choice_is_near_and_the_difference_is_told(data):
    exact, near = kept_in("float32", data), kept_in("mixed_bfloat16", data)
    np.testing.assert_allclose(near.history["loss"], exact.history["loss"], rtol=5e-2)
    assert near.history["loss"] != exact.history["loss"]
    assert [facts["rounded"] for facts in (*exact.record["cache"], *near.record["cache"])] == [
        False,
        True,
    ]
    told = [
        line
        for line in near.record["notes"]
        if "On the kept outputs, which are rounded, the best epoch had val_" in line
    ]
    assert len(told) == 1
    assert not any("kept outputs" in line for line in exact.record["notes"])
    assert not tf.config.optimizer.get_experimental_options().get(memory.OPTION)


@pytest.mark.compiled
def test_where_the_processor_has_no_bfloat16_nothing_is_rounded(data, monkeypatch):
    exact = kept_in("float32", data)
    monkeypatch.setattr(memory, "has_bfloat16", lambda: False)
    other = kept_in("mixed_bfloat16", data)
    assert other.history["loss"] == exact.history["loss"]
    assert any("no bfloat16" in line for line in other.record["notes"])


def on_disk(folder, model, data, **arguments):
    cache = kt.training.Cache(where="disk", folder=folder)
    options = {"epochs": (2, 2), "unfreeze": "block4*", "seed": 0, "verbose": 0, **arguments}
    history = kt.fine_tune(model, data, cache=cache, **options)
    return [facts["found"] for facts in history.record["cache"]], weights(model)


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A folder that one run has filled, and that run."""
    folder = tmp_path_factory.mktemp("cache")
    return folder, on_disk(folder, model_of(), arrays())


def test_later_runs_and_other_heads_find_it(filled):
    folder, (found, first) = filled
    assert found == [False]
    found, again = on_disk(folder, model_of(), arrays())
    assert found == [True]
    same(first, again)
    others = model_of(kt.tasks.Classification(3, hidden=[4]))
    options = {"epochs": (2, 3), "callbacks": [Stop()]}
    assert on_disk(folder, others, arrays(), **options)[0] == [True]


@pytest.mark.parametrize("change", ["weights", "images", "order", "size of batches", "precision"])
def test_what_was_computed_of_something_else_is_not_used(change, filled):
    folder, _ = filled
    model, others = model_of(), arrays()
    if change == "weights":
        kernel = model.get_layer("block1_conv").kernel
        value = keras.ops.convert_to_numpy(kernel).copy()
        value.view(np.uint8)[..., 0] ^= 1  # one bit of some weights
        kernel.assign(value)
    elif change == "images":
        pixels = PIXELS.copy()
        pixels[3, 0, 0, 0] ^= 1
        others = arrays(pixels)
    elif change == "order":
        others = arrays(seed=1)
    elif change == "size of batches":
        others = arrays(batch_size=7)
    else:
        trunk_of = small()
        trunk_of.get_layer("block1_conv").dtype_policy = "mixed_bfloat16"
        model = kt.build_model(
            keras.Model.from_config(trunk_of.get_config()), kt.tasks.Classification(3)
        )
        model.set_weights(model_of().get_weights()[: len(model.get_weights())])
    assert True not in on_disk(folder, model, others, callbacks=[Stop()])[0]


def test_splits_are_told_apart(tmp_path):
    """Two sets of arrays of one size: rows 0, 1, 2, ... of each."""
    for validation in ((255 - PIXELS, LABELS), (PIXELS // 2, LABELS)):
        others = kt.data.from_arrays(PIXELS, LABELS, validation=validation, batch_size=6)
        assert on_disk(tmp_path, model_of(), others, callbacks=[Stop()])[0] == [False]


def test_a_full_disk_costs_a_line(data, tmp_path, monkeypatch):
    from keras_transfer.features import writers

    def refuse(self, values):
        raise OSError(28, "No space left on device", str(self.where))

    expected = model_of()
    kt.fine_tune(expected, data, cache="off", epochs=(2, 2), unfreeze="block4*", seed=0, verbose=0)
    monkeypatch.setattr(writers.Folder, "add", refuse)
    model = model_of()
    cache = kt.training.Cache(where="disk", folder=tmp_path)
    history = kt.fine_tune(
        model, arrays(), cache=cache, epochs=(2, 2), unfreeze="block4*", seed=0, verbose=0
    )
    lines = [line for line in history.record["notes"] if "their outputs could not be kept" in line]
    assert len(lines) == 2
    assert "No space left on device" in lines[0]
    same(weights(expected), weights(model))
    assert not kt.features.CacheFolder(tmp_path).entries()


KILLED = """
import keras, numpy as np, tensorflow as tf
import keras_transfer as kt
tf.config.run_functions_eagerly(True)
pixels = np.random.default_rng(0).integers(0, 256, (240, 32, 32, 3), dtype="uint8")
data = kt.data.from_arrays(pixels, np.arange(240) % 3, validation=0.2, batch_size=6, seed=0)
keras.utils.set_random_seed(0)
x = image = keras.Input((32, 32, 3))
for number in (1, 2):
    x = keras.layers.Conv2D(6, 3, strides=4, name=f"conv{number}")(x)
    x = keras.layers.BatchNormalization(name=f"norm{number}")(x)
trunk = kt.backbone(keras.Model(image, x, name="trunk"), preprocess="tf")
model = kt.build_model(trunk, kt.tasks.Classification(3, dropout=0.3))
cache = "off" if arguments[0] == "off" else kt.training.Cache(where="disk", folder=arguments[0])
kt.fine_tune(model, data, stages=[kt.Stage(epochs=2, train="head", learning_rate=1e-2)], cache=cache, seed=0, verbose=0)
np.savez(arguments[1], *model.get_weights())
"""


@pytest.mark.slow
def test_ten_kills_while_it_is_written(tmp_path, fork):
    """Whatever a killed process left, the next run gives what a run without a cache gives."""

    def run_to_its_end(cache, out):
        process = fork(KILLED, cache, out)
        process.join()
        assert process.exitcode == 0

    run_to_its_end("off", tmp_path / "expected.npz")
    kills = 0
    while kills < 10:
        process = fork(KILLED, tmp_path / "cache", tmp_path / "found.npz")
        started = time.perf_counter()
        while not list((tmp_path / "cache").glob("*/*")):
            assert time.perf_counter() - started < 120
            assert process.is_alive()
            time.sleep(0.001)
        time.sleep(float(RNG.uniform(0, 0.2)))
        process.kill()
        process.join()
        kills += 1
        if kills % 5:
            shutil.rmtree(tmp_path / "cache") if kills % 2 else None
            continue
        run_to_its_end(tmp_path / "cache", tmp_path / "found.npz")
        with (
            np.load(tmp_path / "expected.npz") as expected,
            np.load(tmp_path / "found.npz") as found,
        ):
            for name in expected.files:
                np.testing.assert_array_equal(expected[name], found[name])
        shutil.rmtree(tmp_path / "cache")


# What else a part of a model would not do.


def test_an_output_that_others_take_too(data):
    image = keras.Input((32, 32, 3))
    pooled = keras.layers.GlobalAveragePooling2D(name="pooled")(
        keras.layers.Conv2D(4, 3, strides=4, name="conv")(image)
    )
    model = keras.Model(
        image, {"kind": keras.layers.Dense(3, name="top")(pooled), "pooled": pooled}
    )
    model.compile(
        "adam",
        {"kind": keras.losses.SparseCategoricalCrossentropy(from_logits=True), "pooled": "mse"},
    )
    targets = {"kind": LABELS, "pooled": np.zeros((22, 4), "float32")}
    start = model.get_weights()
    found = []
    for cache in ("off", "memory"):
        model.set_weights(start)
        stages = [kt.Stage(epochs=2, only="top")]
        history = kt.fine_tune(
            model, arrays(labels=targets), stages=stages, cache=cache, seed=0, verbose=0
        )
        found.append(weights(model))
    same(*found)
    assert kept(history)


def test_a_model_with_a_step_of_its_own(data, capsys):
    class Doubled(keras.Model):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return 2 * super().compute_loss(x, y, y_pred, sample_weight, training)

    plain = own(keras.layers.Conv2D(2, 3, strides=8))
    model = Doubled(plain.inputs, plain.outputs)
    model.compile("adam", plain.loss)
    lines = refusal(capsys, model, data, **ONLY_TOP)
    assert "Doubled has its own `compute_loss`" in lines[0]


def test_dropout_within_a_layer_of_ones_own(data, capsys):
    class Block(keras.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.conv, self.drop = (
                keras.layers.Conv2D(2, 3, strides=8),
                keras.layers.Dropout(0.5, name="within"),
            )

        def call(self, inputs):
            return self.drop(self.conv(inputs))

    lines = refusal(capsys, own(Block()), data, **ONLY_TOP)
    assert "'within' draws at random in training" in lines[0]


def test_layers_that_only_look_as_if(data):
    model = own(
        keras.layers.Resizing(16, 16), keras.layers.Lambda(lambda x: x / 255), keras.layers.Conv2D(2, 3, strides=4),
        keras.layers.Dense(4),
    )  # fmt: skip
    for layer in model.layers[:-1]:
        layer.trainable = False
    assert frozen_part(model).reason == ""
    assert len(frozen_part(model).crossing) == 1


def test_batches_that_the_user_put_in(data, capsys):
    data.train = data.train.map(lambda images, labels: (255 - images, labels))
    assert "the order of a plain data set is not known" in refusal(capsys, model_of(), data)[0]


def test_a_callback_that_stops_within_an_epoch(data):
    found = []
    for cache in ("off", "memory"):
        model = model_of()
        stages = [dataclasses.replace(HEAD, epochs=3)]
        history = kt.fine_tune(
            model, arrays(), stages=stages, callbacks=[Stop()], cache=cache, seed=0, verbose=0
        )
        found.append(weights(model))
        assert history.epoch == [0]
    same(*found)


def test_automatic_names_are_missed_not_mistaken(data, tmp_path):
    plan = {"stages": [kt.Stage(epochs=2, only="top")], "epochs": None, "unfreeze": None}
    found = []
    for _ in range(2):
        model = own(keras.layers.Conv2D(2, 3, strides=8), keras.layers.MaxPooling2D())
        found += [on_disk(tmp_path, model, arrays(), **plan)]
    assert [hits for hits, _ in found] == [[False], [False]]
    same(found[0][1], found[1][1])
