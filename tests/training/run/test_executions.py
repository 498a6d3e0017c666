import keras
import networks
import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.machine import engine
from keras_transfer.training.run import executions

IMAGES = np.random.default_rng(0).integers(0, 256, (72, 32, 32, 3), np.uint8)
DATA = IMAGES, np.arange(72) % 2


@pytest.fixture
def _accelerator(monkeypatch):
    monkeypatch.setattr(engine, "jit_compile", lambda: "auto")
    monkeypatch.setattr(engine, "is_jax", lambda: False)


def compiled(**options):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    model.compile("sgd", "mse", **options)
    return model


@pytest.mark.usefixtures("_accelerator")
def test_an_accelerator_takes_several_steps_unless_something_sees_each():
    seen = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: None)
    model = compiled()
    assert executions.choose(model, [], steps=None) == executions.MOST
    assert (
        executions.choose(model, [keras.callbacks.EarlyStopping()], steps=None) == executions.MOST
    )
    assert executions.choose(model, [seen], steps=None) == 1
    assert executions.choose(model, [], steps=100) == 1
    assert executions.choose(compiled(steps_per_execution=3), [], steps=None) == 3


def test_a_processor_takes_one_step_at_a_time(monkeypatch):
    monkeypatch.setattr(engine, "jit_compile", lambda: False)
    assert executions.choose(compiled(), [], steps=None) == 1


@pytest.mark.compiled
def test_several_steps_at_a_time_are_the_same_steps(monkeypatch, capsys):
    weights = []
    for together in (1, executions.MOST):  # 3 batches an epoch: fewer than are taken together
        monkeypatch.setattr(executions, "choose", lambda *_, together=together, **__: together)
        keras.utils.set_random_seed(0)
        model = kt.build_model(networks.small(weights=None), kt.tasks.Classification(2), seed=0)
        kt.fine_tune(model, DATA, epochs=(2, 1), learning_rate=(1e-2, 1e-3), refit=False, seed=0)
        weights.append(model.get_weights())
    assert "steps_per_execution=16 chosen" in capsys.readouterr().out
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)
