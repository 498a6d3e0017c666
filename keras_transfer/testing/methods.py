"""The contract of a method of training."""

import json

import keras
import numpy as np

import keras_transfer as kt
from keras_transfer.graphs import paths
from keras_transfer.testing.running import check_reloads_equal, make_images, require, run

__all__ = ["check_method"]

Method = kt.training.Method
Weights = dict[str, np.ndarray]


def check_method(method: Method) -> None:
    """Checks a method: it trains what is thawed and nothing else, and leaves nothing of itself in the model.

    Args:
        method: For a stage of `kt.fine_tune`, with classification by one dense layer.

    Raises:
        AssertionError: If it breaks the contract.

    Example:
        >>> check_method(kt.training.L2SP(alpha=0.1))
    """
    checks = (
        config_makes_the_method_again,
        record_goes_into_json,
        weights_move_and_frozen_ones_stay,
        model_keeps_its_layers_and_reloads_equal,
        cached_training_is_equal,
    )
    run(checks, method)


def config_makes_the_method_again(method: Method) -> None:
    """Checks that the config gives a method of the same config."""
    again = type(method).from_config(method.get_config())
    require(again.get_config() == method.get_config(), f"{again.get_config()}")
    require(repr(again) == repr(method), f"{again!r}")


def record_goes_into_json(method: Method) -> None:
    """Checks that what the record says of the stage is plain values that JSON keeps."""
    facts = method.facts()
    require(json.loads(json.dumps(facts)) == facts, f"{facts}")
    (stage,) = train(method, build_model()).record["stages"]
    require(facts.items() <= stage.items(), f"{stage} without {facts}")


def weights_move_and_frozen_ones_stay(method: Method) -> None:
    """Checks that a stage moves some weights to other finite values, and none of the frozen block."""
    model = build_model()
    before = read_weights(model)
    train(method, model)
    after = read_weights(model)

    moved = {path for path in before if not np.array_equal(before[path], after[path])}
    frozen = {path for path in before if path.startswith("block1")}
    require(not moved & frozen, f"moved although frozen: {sorted(moved & frozen)}")
    require(bool(moved), "no weight moved")
    wrong = [path for path in moved if not np.isfinite(after[path]).all()]
    require(not wrong, f"not finite: {wrong}")


def model_keeps_its_layers_and_reloads_equal(method: Method) -> None:
    """Checks that the trained model has the layers, weights and losses it had, and can be saved."""
    model = build_model()
    layers, weights = [layer.name for layer in model.layers], set(read_weights(model))
    train(method, model)
    now = [layer.name for layer in model.layers]
    require(now == layers, f"layers {now}, not {layers}")
    different = set(read_weights(model)) ^ weights
    require(not different and not model.losses, f"weights {different}, losses {model.losses}")
    check_reloads_equal(model)


def cached_training_is_equal(method: Method) -> None:
    """Checks that cached outputs of frozen layers train as the images do, unless the method needs the images."""
    if method.needs_images:
        return
    cached, uncached = build_model(), build_model()
    uncached.set_weights(cached.get_weights())
    train(method, cached, cache="memory")
    train(method, uncached, cache="off")
    expected = read_weights(uncached)
    for path, value in read_weights(cached).items():
        np.testing.assert_allclose(value, expected[path], rtol=1e-3, atol=1e-5, err_msg=path)


def build_model() -> keras.Model:
    """Makes a network of two blocks for images of 8 x 8 pixels, with a head for three classes."""
    pixels = keras.Input((8, 8, 3))
    x = keras.layers.Rescaling(1 / 128, offset=-1, name="rescaling")(pixels)
    x = keras.layers.Conv2D(32, 3, strides=2, name="block1_conv")(x)
    x = keras.layers.BatchNormalization(name="block1_bn")(x)
    x = keras.layers.ReLU(name="block1_relu")(x)
    x = keras.layers.Conv2D(32, 3, padding="same", name="block2_conv")(x)
    x = keras.layers.ReLU(name="block2_relu")(x)
    return kt.build_model(keras.Model(pixels, x), kt.tasks.Classification(3))


def train(method: Method, model: keras.Model, *, cache: str = "off") -> keras.callbacks.History:
    """Trains the upper block and the head for two epochs, or as long as a method takes that replaces `fit`."""
    images = make_images(model, 12)
    data = kt.data.from_arrays(images, np.arange(12) % 3, validation=0, batch_size=6, seed=0)
    epochs = None if method.replaces_fit else 2
    stage = kt.Stage(
        method=method, epochs=epochs, train="block2*", learning_rate=0.01, optimizer="sgd"
    )
    return kt.fine_tune(model, data, stages=[stage], cache=cache, watch=(), seed=0, verbose=0)


def read_weights(model: keras.Model) -> Weights:
    """Returns all weights by path."""
    variables = paths.variables(model)
    return {path: keras.ops.convert_to_numpy(value).copy() for path, value in variables.items()}
