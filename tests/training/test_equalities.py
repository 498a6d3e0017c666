"""What a recipe promises, computed a second way and read off `kt.fine_tune` itself, whole stages at a time.

The parts have their own tests: test_schedules (curves at any length and warm-up), test_layer_rates
and test_per_variable (rates by layer, one step), methods/test_penalties (no penalty is plain
training), test_callbacks (within one `fit`).
"""

import functools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_transfer as kt
from keras_transfer.graphs import paths
from keras_transfer.training import methods
from keras_transfer.training.rates import layer_rates

pytestmark = pytest.mark.compiled

RNG = np.random.default_rng(0)
IMAGES = RNG.random((16, 6, 6, 3), "float32")
LABELS = np.arange(16) % 3
TRUNK = ("conv1/kernel", "conv2/kernel")


def dataset(batch=8):
    return tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(batch)


def build(*, traced=False):
    """Tracing pays for itself only where there are many steps."""
    keras.utils.set_random_seed(0)
    image = x = keras.Input((6, 6, 3))
    for name in ("conv1", "conv2"):
        x = keras.layers.Conv2D(4, 3, activation="tanh", name=name)(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(image, keras.layers.Dense(3, activation="softmax", name="answer")(x))
    model.compile(
        "sgd", "sparse_categorical_crossentropy", jit_compile=False, run_eagerly=not traced
    )
    return model


def weights(model):
    return {
        path: keras.ops.convert_to_numpy(variable).copy()
        for path, variable in paths.variables(model).items()
    }


def trained(*plan, data=None, callbacks=(), traced=False):
    model = build(traced=traced)
    kt.fine_tune(model, data or dataset(), stages=list(plan), callbacks=callbacks, verbose=0)
    return model


def scaled(rate, factor):
    if isinstance(rate, dict):
        return {pattern: value * factor for pattern, value in rate.items()}
    return rate * factor


@pytest.mark.parametrize(
    "options",
    [
        {"learning_rate": 0.5},
        {"learning_rate": 0.5, "decay": 0.5},
        {"learning_rate": {"conv*": 0.2, "head": 0.5}},
    ],
    ids=["one rate", "layer-wise decay", "by pattern"],
)
def test_ten_times_the_rate_is_ten_times_the_first_step(options):
    start = weights(build())
    moved = []
    for factor in (1, 10):
        changed = {**options, "learning_rate": scaled(options["learning_rate"], factor)}
        after = weights(trained(kt.Stage(steps=1, optimizer="sgd", **changed)))
        moved.append({path: after[path] - start[path] for path in start})
    for path, step in moved[0].items():
        assert np.abs(step).max() > 1e-4
        np.testing.assert_allclose(moved[1][path], 10 * step, rtol=1e-3, atol=3e-6, err_msg=path)


@functools.cache
def plainly_trained():
    """Keras alone: a rate for everything, no penalty."""
    model = build()
    model.compile(
        keras.optimizers.Adam(1e-2),
        "sparse_categorical_crossentropy",
        jit_compile=False,
        run_eagerly=True,
    )
    model.fit(dataset(), epochs=2, shuffle=False, verbose=0)
    return weights(model)


@pytest.mark.parametrize(
    "options",
    [
        {"decay": 1.0},
        {"learning_rate": {"*": 1e-2}},
        {"learning_rate": {"conv1": 1e-2, "head": 1e-2}},
        {"weight_decay": 0.0},
        {"regulariser": methods.L2SP(0.0, 0.0)},
        {"regulariser": methods.Delta(0.0, beta=0.0)},
        {"regulariser": methods.BSS(0.0)},
    ],
    ids=lambda options: " ".join(f"{name}={value}" for name, value in options.items()),
)
def test_what_changes_nothing_is_plain_training(options):
    expected = plainly_trained()
    found = weights(trained(kt.Stage(epochs=2, **{"learning_rate": 1e-2, **options})))
    for path, value in expected.items():
        np.testing.assert_array_equal(found[path], value, err_msg=path)


def test_what_changes_something_does():
    """So the equalities above are none of things that are left out."""
    expected = plainly_trained()
    for options in ({"decay": 0.5}, {"regulariser": methods.L2SP(0.1, 0.1)}):
        found = weights(trained(kt.Stage(epochs=2, learning_rate=1e-2, **options)))
        assert np.abs(found["conv1/kernel"] - expected["conv1/kernel"]).max() > 1e-4


def test_the_first_step_after_two_thousand_is_one_rate_long():
    """Adam's bias correction starts anew with the stage; old counters would make it several rates."""
    before = {}

    class Counters(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            before.update(weights(model))
            counters.append(int(model.optimizer.iterations))

        def on_train_end(self, logs=None):
            counters.append(int(model.optimizer.iterations))

    counters = []
    model = build(traced=True)
    plan = [
        kt.Stage(epochs=1, train="head", learning_rate=1e-6),
        kt.Stage(steps=1, learning_rate=1e-4, decay=0.5),
    ]
    kt.fine_tune(model, dataset(16).repeat(2000), stages=plan, callbacks=[Counters()], verbose=0)
    assert counters == [0, 2000, 0, 1]
    after = weights(model)
    for depth, path in enumerate(reversed(TRUNK), 1):
        steps = np.abs(after[path] - before[path]) / (1e-4 * 0.5**depth)
        assert np.median(steps) == pytest.approx(1.0, rel=0.05)
        assert steps.max() < 1.05


def test_the_average_of_a_thawed_kernel_starts_at_its_value():
    raw, starts = [], []

    class See(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            raw.clear()
            optimizer = self.model.optimizer
            pairs = zip(
                optimizer._trainable_variables,
                optimizer._model_variables_moving_average,
                strict=True,
            )
            starts.append(
                {variable.path: np.abs(average - variable).max() for variable, average in pairs}
            )

        def on_train_batch_end(self, batch, logs=None):
            raw.append(weights(self.model))

    start = weights(build())
    ema = {"learning_rate": 1e-3, "ema": 0.9}
    model = trained(
        kt.Stage(epochs=2, train="head", **ema), kt.Stage(epochs=2, **ema), callbacks=[See()]
    )
    assert set(starts[1]) > set(starts[0])
    assert all(value == 0.0 for stage in starts for value in stage.values())
    found = weights(model)
    for path in TRUNK:
        average = raw[0][path]  # of one step; Keras's first average is the first step's result
        for step in raw[1:]:
            average = 0.9 * average + 0.1 * step[path]
        np.testing.assert_allclose(found[path], average, rtol=1e-5, atol=1e-7)
        assert np.abs(found[path] - raw[-1][path]).max() > 1e-4
        assert np.linalg.norm(found[path]) == pytest.approx(np.linalg.norm(start[path]), rel=0.02)


STEPS, RATE = 100, 0.1


def fastai_one_cycle(step):
    """`fit_one_cycle(n, lr_max)` with its defaults: from lr_max/25 up until a quarter, down to lr_max/1e5."""
    share = step / STEPS
    low, high, end = RATE / 25, RATE, RATE / 1e5
    if share < 0.25:
        return low + (high - low) * (1 - math.cos(math.pi * share / 0.25)) / 2
    return high + (end - high) * (1 - math.cos(math.pi * (share - 0.25) / 0.75)) / 2


def timm_cosine(step):
    """`CosineLRScheduler` with its defaults: no warm-up, down to 0 in one cycle."""
    return RATE * (1 + math.cos(math.pi * step / STEPS)) / 2


# By hand: cos of a fifth, a third, two thirds and a quarter of pi are 0.809017, 0.5, -0.5 and 0.707107.
# Rise: 0.1 - 0.096 * (1 + 0.809017) / 2; fall: 1e-6 + 0.099999 * 0.75, and * 0.25; cosine: 0.1 * 1.707107 / 2.
BY_HAND = {
    "one_cycle": (
        fastai_one_cycle,
        {0: 0.004, 5: 0.01316718, 25: 0.1, 50: 0.07500025, 75: 0.02500075},
    ),
    "cosine": (timm_cosine, {0: 0.1, 25: 0.08535534, 50: 0.05, 75: 0.01464466}),
}


@pytest.mark.parametrize("decay", [1.0, 0.75])
@pytest.mark.parametrize("schedule", BY_HAND)
def test_the_rates_of_a_stage_are_the_published_curves(schedule, decay):
    """Of every step and every block; layer-wise decay as `param_groups_layer_decay` has it."""
    curve, by_hand = BY_HAND[schedule]
    for step, rate in by_hand.items():
        assert curve(step) == pytest.approx(rate, abs=1e-8)
    seen = []
    see = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: seen.append(
            layer_rates.learning_rates(model.optimizer)
        )
    )
    model = build(traced=True)
    stage = kt.Stage(epochs=2, optimizer="sgd", learning_rate=RATE, schedule=schedule, decay=decay)
    kt.fine_tune(model, dataset(16).repeat(STEPS // 2), stages=[stage], callbacks=[see], verbose=0)
    scales = {"*": 1.0} if decay == 1.0 else {"conv1": decay**2, "conv2": decay, "head": 1.0}
    assert len(seen) == STEPS
    for step, found in enumerate(seen):
        expected = {name: scale * curve(step) for name, scale in scales.items()}
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-8)
