import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_transfer as kt
from keras_transfer.core import checks
from keras_transfer.graphs import compiling, paths


def images(count=24, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 16, 16, 3)).astype("float32"), rng.integers(0, 3, count)


def dataset(count=24, batch=8):
    return tf.data.Dataset.from_tensor_slices(images(count)).batch(batch)


def trunk():
    """Three convolutions with batch normalisation: quick to trace."""
    image = x = keras.Input((16, 16, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1)(x)
    for number in (1, 2, 3):
        x = keras.layers.Conv2D(4 * number, 3, strides=2, name=f"block{number}_conv")(x)
        x = keras.layers.BatchNormalization(name=f"block{number}_bn")(x)
        x = keras.layers.Activation("relu", name=f"block{number}_relu")(x)
    return keras.Model(image, x)


def build(optimizer=None, **options):
    keras.utils.set_random_seed(0)
    model = kt.build_model(trunk(), kt.tasks.Classification(3, dropout=0.3))
    kt.compile(model, optimizer=optimizer or keras.optimizers.Adam(1e-2), **options)
    return model


def weights(model):
    return {path: np.asarray(value) for path, value in paths.variables(model).items()}


def distance(one, other):
    return max(float(np.abs(one[path] - other[path]).max()) for path in one)


def in_two_fits(model, data, rate=1e-3):
    kt.freeze(model, below="classification_logits")
    optimizer = model.optimizer
    compiling.recompile(model, type(optimizer).from_config(optimizer.get_config()))
    model.fit(data, epochs=2, shuffle=False, verbose=0)
    kt.unfreeze(model, above="block3_conv")
    config = {**optimizer.get_config(), "learning_rate": rate}
    compiling.recompile(model, type(optimizer).from_config(config))
    model.fit(data, initial_epoch=2, epochs=4, shuffle=False, verbose=0)


def in_one_fit(model, data, rate=1e-3, callbacks=()):
    callback = kt.TwoStage(unfreeze_at=2, unfreeze="block3_conv", learning_rate=rate, verbose=False)
    return model.fit(data, epochs=4, shuffle=False, callbacks=[callback, *callbacks], verbose=0)


CASES = {
    "plain": {},
    "jit": {"jit_compile": True},
    "several steps at once": {"steps_per_execution": 2},
}


@pytest.mark.parametrize(
    "case",
    [
        "plain",
        pytest.param("jit", marks=pytest.mark.compiled),
        pytest.param("several steps at once", marks=pytest.mark.compiled),
    ],
)
def test_one_fit_equals_two_consecutive_fits(case):
    one, two = build(**CASES[case]), build(**CASES[case])
    in_one_fit(one, dataset())
    in_two_fits(two, dataset())
    assert distance(weights(one), weights(two)) <= 1e-6
    assert distance(weights(one), weights(build())) > 1e-3


def test_it_holds_with_moving_averages_and_ragged_batches():
    def adam():
        return keras.optimizers.Adam(1e-2, use_ema=True, ema_momentum=0.5)

    one, two = build(adam()), build(adam())
    in_one_fit(one, dataset(21))
    in_two_fits(two, dataset(21))
    assert distance(weights(one), weights(two)) <= 1e-6


@pytest.mark.compiled
def test_it_holds_with_mixed_precision():
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    one, two = build(), build()
    in_one_fit(one, dataset())
    in_two_fits(two, dataset())
    assert distance(weights(one), weights(two)) <= 1e-6


@pytest.mark.compiled
def test_loss_scaling_goes_on_around_the_new_optimizer():
    keras.mixed_precision.set_global_policy("mixed_float16")
    model = build()
    in_one_fit(model, dataset())
    assert type(model.optimizer).__name__ == "LossScaleOptimizer"
    assert np.isfinite(np.concatenate([value.ravel() for value in weights(model).values()])).all()


def first_step(start):
    """The size of the first step on thawed kernels after 2,000 of Adam on the head, in units of the rate."""
    model = build(keras.optimizers.Adam(1e-5))
    kt.freeze(model, below="classification_logits")
    compiling.recompile(model, keras.optimizers.Adam(1e-5))
    model.fit(dataset(8), epochs=1, shuffle=False, verbose=0)
    model.optimizer.iterations.assign(2000)
    before = weights(model)
    start(model)
    kernels = [path for path in before if path.startswith("block3") and path.endswith("kernel")]
    return (
        np.median(
            np.concatenate(
                [np.abs(weights(model)[path] - before[path]).ravel() for path in kernels]
            )
        )
        / 1e-5
    )


def test_the_first_step_on_thawed_weights_is_one_rate_long():
    def ours(model):
        callback = kt.TwoStage(
            unfreeze_at=1, unfreeze="block3_conv", learning_rate=1e-5, verbose=False
        )
        model.fit(
            dataset(8), initial_epoch=1, epochs=2, shuffle=False, callbacks=[callback], verbose=0
        )

    def naive(model):
        """Slots are added, the step counter goes on: no bias correction for the new ones."""
        kt.unfreeze(model, above="block3_conv")
        counter = int(model.optimizer.iterations)
        compiling.recompile(model, keras.optimizers.Adam(1e-5))
        model.optimizer.iterations.assign(counter)
        model.fit(dataset(8), initial_epoch=1, epochs=2, shuffle=False, verbose=0)

    assert first_step(ours) == pytest.approx(1.0, rel=0.05)
    assert first_step(naive) > 2


def test_gradual_thaws_block_by_block():
    model = build()
    counts = []
    count = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: counts.append(len(model.trainable_variables))
    )
    model.fit(
        dataset(),
        epochs=4,
        shuffle=False,
        verbose=0,
        callbacks=[kt.GradualUnfreeze(every=1, start=1, verbose=False), count],
    )
    assert counts == [2, 4, 6, 8]


@pytest.mark.compiled
def test_the_naive_callback_trains_nothing():
    """Setting flags within `fit` leaves the traced step as it is: what the callback is there for."""
    model = build()
    kt.freeze(model, below="classification_logits")
    compiling.recompile(model, keras.optimizers.Adam(1e-2))
    before = weights(model)

    def thaw(epoch, logs):
        for layer in paths.leaves(model).values() if epoch else ():
            layer.trainable = True

    model.fit(
        dataset(),
        epochs=2,
        shuffle=False,
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_begin=thaw)],
        verbose=0,
    )
    kernels = [path for path in before if path.startswith("block3") and path.endswith("kernel")]
    assert all(np.array_equal(before[path], weights(model)[path]) for path in kernels)


def test_wrong_input_is_an_error_before_the_first_step():
    model = build()
    before = weights(model)
    with pytest.raises(checks.InputError, match="must match a block or layer"):
        model.fit(
            dataset(),
            epochs=4,
            shuffle=False,
            callbacks=[kt.TwoStage(unfreeze_at=2, unfreeze="blok3")],
            verbose=0,
        )
    assert distance(weights(model), before) == 0.0
