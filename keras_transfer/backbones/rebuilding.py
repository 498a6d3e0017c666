"""Copies the layers of a network for another input or with random weights, and copies their weights."""

from collections.abc import Callable, Iterable

import keras
import numpy as np

from keras_transfer.core import checks

__all__ = ["LOADED_BY_KERAS", "check_saveable", "hand_over", "make_copier"]

Pairs = dict[int, tuple[keras.layers.Layer, keras.layers.Layer]]

# Keras finds the classes of these packages itself when it loads a file; all others must be registered.
LOADED_BY_KERAS = {"keras", "keras_hub"}


def make_copier(
    pairs: Pairs, *, rename: Callable[[str], str] | None = None
) -> Callable[[keras.Operation], keras.Operation]:
    """Returns a `swap` for `nodes.replay` that copies each layer from its config, with new weights.

    Args:
        pairs: Filled with (layer, its copy) by the layer's id. A layer that is called twice has one copy.
        rename: Returns the name of a copy, for copies that stand beside their originals in one model. Operations that
            are no layers are then copied, too.

    Example:
        >>> dense, pairs = keras.layers.Dense(2, name="dense"), {}
        >>> make_copier(pairs)(dense) is dense, len(pairs)
        (False, 1)
    """
    copies = {key: copy for key, (_, copy) in pairs.items()}

    def swap(operation: keras.Operation) -> keras.Operation:
        is_layer = isinstance(operation, keras.layers.Layer)
        # A Lambda has no weights, and making one from its config would run code from a config.
        if isinstance(operation, keras.layers.Lambda) or not (is_layer or rename):
            return operation
        if id(operation) not in copies:
            changes = {"name": rename(operation.name)} if rename else {}
            copies[id(operation)] = _copy(operation, **changes)
            if is_layer:
                pairs[id(operation)] = (operation, copies[id(operation)])
        return copies[id(operation)]

    return swap


def hand_over(
    pairs: Pairs, *, sizes: str, adapt: Callable[[np.ndarray], np.ndarray] | None = None
) -> None:
    """Copies the weights of each layer into its copy.

    Args:
        pairs: As `make_copier` filled it; all copies are built.
        sizes: The input that the copies were built for, for the error.
        adapt: Turns the first kernel for RGB into one for the input's channels.

    Raises:
        InputError: If a copy has weights of other shapes.

    Example:
        >>> image, dense, pairs = keras.Input((4,)), keras.layers.Dense(2), {}
        >>> (dense(image).shape, make_copier(pairs)(dense)(image).shape)
        ((None, 2), (None, 2))
        >>> hand_over(pairs, sizes="4 numbers")
        >>> [float(abs(a - b).max()) for a, b in zip(*(layer.get_weights() for layer in pairs[id(dense)]))]
        [0.0, 0.0]
    """
    for old, new in pairs.values():
        values = old.get_weights()
        if adapt and isinstance(new, keras.layers.Conv2D) and values[0].shape[2] == 3:
            values[0], adapt = adapt(values[0]), None
        shapes = [value.shape for value in values]
        wanted = [tuple(weight.shape) for weight in new.weights]
        if shapes != wanted:
            raise checks.error(
                f"`image_size` and `channels` must leave the weights of layer {old.name!r} their shapes",
                given=f"{sizes}, which makes them {wanted} instead of {shapes}",
                fix="End the network below that layer with `output=`, or use images of the size it was built for.",
            )
        new.set_weights(values)
        for part in new._flatten_layers():
            if isinstance(part, keras.layers.Normalization) and part.weights:
                part.finalize_state()  # it computes with constants made of its weights


def check_saveable(operations: Iterable[keras.Operation]) -> list[str]:
    """Raises an error for a layer that could be saved but not loaded; returns the names of Lambdas.

    A Lambda can be loaded by a user who trusts the file.

    Args:
        operations: Layers and operations of a graph; layers within layers are not checked.

    Example:
        >>> check_saveable([keras.layers.Dense(2), keras.layers.Lambda(lambda x: x, name="same")])
        ['same']
    """
    lambdas = []
    for operation in operations:
        kind = type(operation)
        package = kind.__module__.partition(".")[0]
        if isinstance(operation, keras.layers.Lambda):
            lambdas.append(operation.name)
        elif package != "keras":
            registered = keras.saving.get_registered_object(keras.saving.get_registered_name(kind))
            if package not in LOADED_BY_KERAS and registered is not kind:
                raise checks.error(
                    "a class of your own must be registered, or a model with it could not be loaded",
                    given=f"{kind.__name__} of layer {operation.name!r}",
                    fix="Write `@keras.saving.register_keras_serializable('my_package')` above "
                    f"`class {kind.__name__}`.",
                )
            _copy(operation)
    return lambdas


def _copy(operation: keras.Operation, **changes: object) -> keras.Operation:
    kind = type(operation)
    try:
        return kind.from_config({**operation.get_config(), **changes})
    except (NotImplementedError, TypeError, ValueError) as refused:
        raise checks.error(
            f"a layer must be one that its config makes again: {kind.__name__}.from_config(get_config())",
            given=f"{operation.name!r} ({checks.first_line(refused)})",
            fix="Let `get_config` return every argument of the constructor, and pass **kwargs on to super().__init__.",
        ) from refused
