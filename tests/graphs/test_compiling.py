import keras
import numpy as np
import pytest

from keras_transfer.core import checks
from keras_transfer.graphs import compiling


def compiled(loss="mse"):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile("sgd", loss=loss, metrics=["mae"], loss_weights=None, steps_per_execution=2)
    return model


def test_only_the_optimizer_changes():
    model = compiled()
    compiling.recompile(model, keras.optimizers.Adam(0.01))
    assert isinstance(model.optimizer, keras.optimizers.Adam)
    assert model.steps_per_execution == 2
    assert "mae" in model.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0).history


def test_a_loss_that_is_a_plain_function_stays():
    def mine(y_true, y_pred):
        return keras.ops.mean(keras.ops.square(y_true - y_pred), axis=-1)

    model = compiled(mine)
    compiling.recompile(model, keras.optimizers.SGD(0.01))
    assert model.loss is mine


def test_slots_exist_at_once():
    model = compiled()
    compiling.recompile(model, keras.optimizers.Adam())
    assert (
        len(model.optimizer.variables) == 2 + 2 * 2
    )  # step and rate; two moments of kernel and bias


def test_never_compiled():
    with pytest.raises(checks.InputError, match="must be compiled"):
        compiling.recompile(
            keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]), keras.optimizers.SGD()
        )


def test_private_names_that_this_stands_on_exist():
    assert set(compiled()._compile_config.config) >= {
        "optimizer",
        "loss",
        "metrics",
        "loss_weights",
        "jit_compile",
    }
