import math

import keras
import numpy as np
import pytest

from keras_transfer.core import checks
from keras_transfer.optimizers import schedules

STEPS = 400
POINTS = np.linspace(0, STEPS, 100).astype(int)  # the first and the last step, and 98 between


def at(schedule, steps=POINTS):
    return np.array([float(schedule(int(step))) for step in steps])


def fastai_one_cycle(step, rate, steps, pct_start=0.25, div=25.0, div_final=1e5):
    """`fit_one_cycle`: `combined_cos(pct_start, lr_max/div, lr_max, lr_max/div_final)`, written out."""

    def cosine(start, end, position):
        return start + (1 + math.cos(math.pi * (1 - position))) * (end - start) / 2

    position = step / steps
    if position < pct_start:
        return cosine(rate / div, rate, position / pct_start)
    return cosine(rate, rate / div_final, (position - pct_start) / (1 - pct_start))


def timm_cosine(step, rate, steps, warmup_t=0):
    """`CosineLRScheduler` with its defaults: lr_min=0, warmup_lr_init=0, warmup_prefix=False, one cycle."""
    if step < warmup_t:
        return 0 + step * (rate - 0) / warmup_t
    cycle = step // steps
    return 0.5 * rate * (1 + math.cos(math.pi * (step - steps * cycle) / steps)) if cycle < 1 else 0


@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.5])
def test_one_cycle_is_fastais(warmup):
    schedule = schedules.make("one_cycle", 3e-3, steps=STEPS, warmup=warmup)
    expected = [fastai_one_cycle(step, 3e-3, STEPS, pct_start=warmup or 0.25) for step in POINTS]
    np.testing.assert_allclose(at(schedule), expected, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.5])
def test_cosine_is_timms(warmup):
    schedule = schedules.make("cosine", 3e-3, steps=STEPS, warmup=warmup)
    expected = [timm_cosine(step, 3e-3, STEPS, warmup_t=STEPS * warmup) for step in POINTS]
    np.testing.assert_allclose(at(schedule), expected, rtol=1e-5, atol=1e-9)


def test_keras_warms_up_before_the_decay():
    """Why the warm-up is ours: Keras's own makes the run longer."""
    ours = schedules.make("cosine", 1.0, steps=STEPS, warmup=0.5)
    keras_own = keras.optimizers.schedules.CosineDecay(
        0.0, STEPS, warmup_target=1.0, warmup_steps=STEPS // 2
    )
    assert float(ours(STEPS)) == pytest.approx(0, abs=1e-6)
    assert float(keras_own(STEPS)) == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize("warmup", [0.0, 0.25])
def test_polynomial_is_a_line(warmup):
    schedule = schedules.make("polynomial", 3e-3, steps=STEPS, warmup=warmup)
    rising = STEPS * warmup
    expected = [3e-3 * (step / rising if step < rising else 1 - step / STEPS) for step in POINTS]
    np.testing.assert_allclose(at(schedule), expected, rtol=1e-5, atol=1e-9)


def test_constant():
    assert schedules.make("constant", 3e-3, steps=STEPS) == 3e-3
    schedule = schedules.make("constant", 3e-3, steps=STEPS, warmup=0.25)
    np.testing.assert_allclose(at(schedule), 3e-3 * np.minimum(POINTS / 100, 1), rtol=1e-6)


@pytest.mark.parametrize("name", schedules.SCHEDULES)
def test_every_schedule_stays_at_its_end(name):
    schedule = schedules.make(name, 1e-3, steps=10, warmup=0.2)
    assert float(schedule(10)) == pytest.approx(float(schedule(1000)), abs=1e-9)


@pytest.mark.parametrize("name", schedules.SCHEDULES)
@pytest.mark.parametrize("warmup", [0.0, 0.2])
def test_every_schedule_is_saved_with_its_optimizer(name, warmup, tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    rate = schedules.make(name, 1e-2, steps=20, warmup=warmup)
    model.compile(keras.optimizers.SGD(rate), "mse")
    model.fit(np.ones((4, 2)), np.ones((4, 1)), batch_size=1, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.optimizer.get_config() == model.optimizer.get_config()
    assert float(again.optimizer.learning_rate) == float(model.optimizer.learning_rate) > 0
    histories = [
        one.fit(np.ones((4, 2)), np.ones((4, 1)), batch_size=1, verbose=0) for one in (model, again)
    ]
    assert histories[0].history == histories[1].history
    np.testing.assert_array_equal(model.get_weights()[0], again.get_weights()[0])


@pytest.mark.parametrize("name", schedules.SCHEDULES)
@pytest.mark.parametrize("jit", [False, pytest.param(True, marks=pytest.mark.compiled)])
def test_an_optimizer_follows_every_schedule(name, jit):
    """The gradient of `w` for the loss `w` is 1, so SGD's steps are the rates."""
    inputs = keras.Input((1,))
    model = keras.Model(inputs, keras.layers.Dense(1, use_bias=False, name="w")(inputs))
    rate = schedules.make(name, 0.5, steps=8, warmup=0.25)
    model.compile(keras.optimizers.SGD(rate), loss=lambda y_true, y_pred: y_pred, jit_compile=jit)
    values = [model.get_weights()[0].item()]
    see = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: values.append(model.get_weights()[0].item())
    )
    ones = np.ones((8, 1))
    model.fit(ones, ones, batch_size=1, callbacks=[see], verbose=0)
    expected = at(rate, range(8))
    np.testing.assert_allclose(-np.diff(values), expected, atol=1e-6)
    assert model.optimizer.iterations == 8


def test_the_highest_rate():
    for name in schedules.SCHEDULES:
        for warmup in (0.0, 0.1):
            schedule = schedules.make(name, 2e-3, steps=100, warmup=warmup)
            assert schedules.peak(schedule) == 2e-3
            if (
                callable(schedule)
                and not (name == "polynomial" and warmup)
                and not (name == "cosine" and warmup)
            ):
                assert at(schedule, range(100)).max() == pytest.approx(2e-3)
    cosine = keras.optimizers.schedules.CosineDecay(1e-4, 10, warmup_target=1e-2, warmup_steps=5)
    assert schedules.peak(cosine) == 1e-2
    with pytest.raises(checks.InputError, match="PiecewiseConstantDecay. Use one of 'constant'"):
        schedules.peak(keras.optimizers.schedules.PiecewiseConstantDecay([1], [1.0, 0.1]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "cosin"}, "`schedule` must be a known name.*Close names: 'cosine'"),
        ({"rate": 0.0}, "`rate` must be a number above 0"),
        ({"rate": float("nan")}, "`rate`"),
        ({"steps": 0}, "`steps` must be a whole number of at least 1"),
        ({"steps": 1.5}, "`steps`"),
        ({"warmup": 1.0}, "`warmup` must be a number at least 0 and below 1"),
        ({"warmup": -0.1}, "`warmup`"),
    ],
)
def test_wrong_arguments(arguments, message):
    given = {"name": "cosine", "rate": 1e-3, "steps": 10, "warmup": 0.1, **arguments}
    with pytest.raises(checks.InputError, match=message):
        schedules.make(given.pop("name"), given.pop("rate"), **given)


def test_a_warm_up_that_is_shorter_than_a_step_is_none():
    assert schedules.make("constant", 1e-3, steps=3, warmup=0.1) == 1e-3


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        (0.1, "0.1"),
        (
            schedules.make("constant", 0.1, steps=20, warmup=0.5),
            "0.1 after a rise over the first 10 steps",
        ),
        (schedules.make("cosine", 3e-3, steps=200), "cosine from 0.003 over 200 steps"),
        (schedules.make("one_cycle", 0.1, steps=20), "one cycle up to 0.1 over 20 steps"),
        (schedules.make("polynomial", 0.1, steps=20), "straight line from 0.1 over 20 steps"),
        (
            keras.optimizers.schedules.CosineDecay(0.0, 9, warmup_target=0.1, warmup_steps=3),
            "cosine from 0.1 over 9 steps after a rise over 3 steps",
        ),
        (keras.optimizers.schedules.ExponentialDecay(0.1, 9, 0.5), "ExponentialDecay, a schedule"),
    ],
)
def test_schedules_in_words(schedule, words):
    assert schedules.describe(schedule) == words
