"""The contract of a backbone."""

import contextlib
import io
import pathlib
import tempfile

import keras
import numpy as np

import keras_transfer as kt
from keras_transfer.graphs import paths
from keras_transfer.testing.running import check_reloads_equal, make_images, require, run

__all__ = ["check_backbone"]

HEAD = "classification_logits"
HEAD_WEIGHTS = {f"{HEAD}/kernel", f"{HEAD}/bias"}


def check_backbone(backbone: keras.Model) -> None:
    """Checks a backbone: its pixels, blocks and levels, freezing and thawing, saving, exporting.

    Args:
        backbone: From `kt.backbone`; its weights change.

    Raises:
        AssertionError: If it breaks the contract.

    Example:
        >>> image = keras.Input((32, 32, 3))
        >>> lower = keras.layers.Conv2D(4, 3, strides=4, name="lower")(image)
        >>> upper = keras.layers.Conv2D(8, 3, strides=2, name="upper")(lower)
        >>> check_backbone(kt.backbone(keras.Model(image, upper), preprocess="tf"))
    """
    checks = (
        takes_bytes_and_floats_alike,
        answers_each_image_by_itself,
        blocks_hold_every_layer_once,
        levels_are_in_the_graph,
        frozen_weights_stay_bit_equal,
        thawed_weights_move_and_no_others,
        reloads_equal,
        exports_equal,
    )
    run(checks, backbone)


def takes_bytes_and_floats_alike(backbone: keras.Model) -> None:
    """Checks that uint8 and float32 pixels give the same features."""
    images = make_images(backbone)
    of_bytes = backbone.predict_on_batch(images)
    of_floats = backbone.predict_on_batch(images.astype("float32"))
    np.testing.assert_array_equal(of_bytes, of_floats)


def answers_each_image_by_itself(backbone: keras.Model) -> None:
    """Checks that features do not depend on the other images of the batch."""
    images = make_images(backbone)
    beside_others = backbone.predict_on_batch(images)[:1]
    beside_copies = backbone.predict_on_batch(images[:1].repeat(len(images), axis=0))
    expected = beside_others.repeat(len(images), axis=0)
    np.testing.assert_allclose(beside_copies, expected, rtol=1e-4, atol=1e-4)


def blocks_hold_every_layer_once(backbone: keras.Model) -> None:
    """Checks that each layer of the trunk is in exactly one block."""
    mark = kt.models.representation(backbone)
    in_trunk = [path for path, layer in paths.leaves(backbone).items() if layer is not mark]
    in_blocks = [path for block in kt.models.blocks(backbone) for path in block.layers]
    different = set(in_trunk) ^ set(in_blocks)
    require(sorted(in_blocks) == sorted(in_trunk), f"{different} not in exactly one block")


def levels_are_in_the_graph(backbone: keras.Model) -> None:
    """Checks that `levels` names layers that the model has."""
    names = {operation.name for operation in backbone.operations}
    require(set(backbone.levels.values()) <= names, f"{backbone.levels}")


def frozen_weights_stay_bit_equal(backbone: keras.Model) -> None:
    """Checks that training a head alone moves the head's weights only."""
    moved, _ = train_for_a_step(backbone, "head")
    require(moved == HEAD_WEIGHTS, f"moved: {sorted(moved)}")


def thawed_weights_move_and_no_others(backbone: keras.Model) -> None:
    """Checks that thawing the top block moves some of its weights, and nothing below it."""
    able = set(kt.unfreeze(backbone))
    blocks = [block.name for block in kt.models.blocks(backbone) if able & set(block.layers)]
    moved, trainable = train_for_a_step(backbone, blocks[-1] if blocks else "all")

    require(moved <= trainable, f"moved although frozen: {sorted(moved - trainable)}")
    # Without such blocks there is nothing in the trunk that can train.
    require(bool(moved - HEAD_WEIGHTS) == bool(blocks), "no thawed weight moved")


def reloads_equal(backbone: keras.Model) -> None:
    """Checks that a saved and loaded backbone gives the same features."""
    check_reloads_equal(backbone)


def exports_equal(backbone: keras.Model) -> None:
    """Checks that the exported SavedModel gives the backbone's feature maps and their averages."""
    import tensorflow as tf

    images = make_images(backbone)
    expected = backbone.predict_on_batch(images)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        exported = tf.saved_model.load(str(kt.export(backbone, pathlib.Path(folder) / "1")))
    (maps,) = exported.signatures["pixels"](images=tf.constant(images)).values()
    features = exported.signatures["features"](images=tf.constant(images))["features"]

    places = tuple(range(1, expected.ndim - 1))
    tolerance = {"rtol": 1e-5, "atol": 1e-5 * np.abs(expected).max()}
    np.testing.assert_allclose(maps.numpy(), expected, **tolerance)
    np.testing.assert_allclose(features.numpy(), expected.mean(axis=places), **tolerance)


def train_for_a_step(backbone: keras.Model, train: str) -> tuple[set[str], set[str]]:
    """Trains a head, and the block `train` with all above it, for a step.

    Returns:
        Paths of the weights that moved, and of those that may.
    """
    set_statistics(backbone)
    model = kt.build_model(backbone, kt.tasks.Classification(2))
    kt.freeze(model, below=HEAD)
    if train != "head":
        kt.unfreeze(model, above=train)
    kt.compile(model, optimizer=keras.optimizers.SGD(0.1))

    before = read_weights(model)
    model.train_on_batch(make_images(model), np.array([0, 1, 1, 1]))
    after = read_weights(model)

    moved = {path for path in before if not np.array_equal(before[path], after[path])}
    names = {id(variable): path for path, variable in paths.variables(model).items()}
    return moved, {names[id(variable)] for variable in model.trainable_variables}


def set_statistics(backbone: keras.Model) -> None:
    """Sets batch-norm statistics from some images: with random weights the signal would vanish."""
    norms = [
        layer
        for layer in paths.leaves(backbone).values()
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    before = [(layer.momentum, layer.trainable) for layer in norms]
    for layer in norms:
        layer.momentum, layer.trainable = 0.0, True
    backbone(make_images(backbone, 8).astype("float32"), training=True)
    for layer, (momentum, trainable) in zip(norms, before, strict=True):
        layer.momentum, layer.trainable = momentum, trainable


def read_weights(model: keras.Model) -> dict[str, np.ndarray]:
    """Returns all weights by path."""
    variables = paths.variables(model)
    return {path: keras.ops.convert_to_numpy(value) for path, value in variables.items()}
