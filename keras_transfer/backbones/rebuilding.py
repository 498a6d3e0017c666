"""Making the layers of a network again, for another input or with random weights, and handing weights over."""

from collections.abc import Callable, Iterable

import keras
import numpy as np

from keras_transfer.core import checks

__all__ = ["LOADED_BY_KERAS", "check_saveable", "copying", "first_line", "hand_over"]

Pairs = dict[int, tuple[keras.layers.Layer, keras.layers.Layer]]

# Keras looks these up by itself when it loads a file; for any other class it must be told.
LOADED_BY_KERAS = {"keras", "keras_hub"}


def copying(
    pairs: Pairs, *, rename: Callable[[str], str] | None = None
) -> Callable[[keras.Operation], keras.Operation]:
    """Returns a `swap` of `graph.replay` that makes each layer once more from its config, with new weights.

    Args:
        pairs: Filled with (layer, its copy) by the layer's id. A layer that is called twice has one copy.
        rename: Gives the name of a copy, for copies that shall stand beside what they are copies of. Then plain
            operations have copies, too.

    Example:
        >>> dense, pairs = keras.layers.Dense(2, name="dense"), {}
        >>> copying(pairs)(dense) is dense, len(pairs)
        (False, 1)
    """
    plain: dict[int, keras.Operation] = {}

    def again(operation: keras.Operation) -> keras.Operation:
        return _again(operation, **({"name": rename(operation.name)} if rename else {}))

    def swap(operation: keras.Operation) -> keras.Operation:
        # A Lambda has no weights, and making one from its config would be running code from a config.
        if isinstance(operation, keras.layers.Lambda):
            return operation
        if isinstance(operation, keras.layers.Layer):
            if id(operation) not in pairs:
                pairs[id(operation)] = (operation, again(operation))
            return pairs[id(operation)][1]
        if rename is None:
            return operation
        if id(operation) not in plain:
            plain[id(operation)] = again(operation)
        return plain[id(operation)]

    return swap


def hand_over(
    pairs: Pairs, *, sizes: str, adapt: Callable[[np.ndarray], np.ndarray] | None = None
) -> None:
    """Copies the weights of each layer into its copy.

    Args:
        pairs: As `copying` filled it; all copies are built.
        sizes: What the copies were built for, for the error.
        adapt: Makes a kernel for the input's channels of one for RGB.

    Raises:
        InputError: If a layer has weights of other shapes now.

    Example:
        >>> image, dense, pairs = keras.Input((4,)), keras.layers.Dense(2), {}
        >>> (dense(image).shape, copying(pairs)(dense)(image).shape)
        ((None, 2), (None, 2))
        >>> hand_over(pairs, sizes="4 numbers")
        >>> [float(abs(a - b).max()) for a, b in zip(*(layer.get_weights() for layer in pairs[id(dense)]))]
        [0.0, 0.0]
    """
    for old, new in pairs.values():
        values = old.get_weights()
        if adapt and isinstance(new, keras.layers.Conv2D) and values[0].shape[2] == 3:
            values[0], adapt = adapt(values[0]), None  # the first one only
        shapes, wanted = (
            [value.shape for value in values],
            [tuple(weight.shape) for weight in new.weights],
        )
        if shapes != wanted:
            raise checks.error(
                f"`image_size` and `channels` must leave the weights of layer {old.name!r} their shapes",
                given=f"{sizes}, which makes them {wanted} instead of {shapes}",
                fix="End the network below that layer with `output=`, or use images of the size it was built for.",
            )
        new.set_weights(values)
        for part in new._flatten_layers():
            if isinstance(part, keras.layers.Normalization) and part.weights:
                part.finalize_state()  # it computes with constants that it makes of its weights


def check_saveable(operations: Iterable[keras.Operation]) -> list[str]:
    """Raises an error for a layer that a saved model could not be loaded with; returns the names of Lambdas.

    Keras saves such a layer all the same, and fails when it is too late. A Lambda can be loaded by who
    trusts the file.

    Args:
        operations: Layers and operations of a graph; what is inside a layer is its own affair.

    Example:
        >>> check_saveable([keras.layers.Dense(2), keras.layers.Lambda(lambda x: x, name="same")])
        ['same']
    """
    lambdas = []
    for operation in operations:
        kind = type(operation)
        if isinstance(operation, keras.layers.Lambda):
            lambdas.append(operation.name)
        elif kind.__module__.partition(".")[0] != "keras":
            _check_registered(operation)
            _again(operation)
    return lambdas


def _check_registered(operation: keras.Operation) -> None:
    kind = type(operation)
    name = keras.saving.get_registered_name(kind)
    if (
        kind.__module__.partition(".")[0] in LOADED_BY_KERAS
        or keras.saving.get_registered_object(name) is kind
    ):
        return
    raise checks.error(
        "a class of your own must be registered, or a model with it could not be loaded",
        given=f"{kind.__name__} of layer {operation.name!r}",
        fix=f"Write `@keras.saving.register_keras_serializable('my_package')` above `class {kind.__name__}`.",
    )


def _again(operation: keras.Operation, **changes: object) -> keras.Operation:
    try:
        return type(operation).from_config({**operation.get_config(), **changes})
    except (NotImplementedError, TypeError, ValueError) as refused:
        raise checks.error(
            f"a layer must be one that its config makes again: {type(operation).__name__}.from_config(get_config())",
            given=f"{operation.name!r} ({first_line(refused)})",
            fix="Let `get_config` return every argument of the constructor, and pass **kwargs on to super().__init__.",
        ) from refused


def first_line(error: Exception) -> str:
    """Returns the line of an error's message that says what went wrong.

    Example:
        >>> first_line(ValueError(" no "))
        'no'
    """
    text = str(error).rpartition("Exception encountered:")[
        2
    ]  # Keras puts pages of config before it
    return next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)
