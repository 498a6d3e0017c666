"""From pixels to what a network expects, by a function of the user's own."""

from collections.abc import Callable

import keras
from keras import ops

from keras_transfer.core import checks

__all__ = ["PreprocessFunction"]


@keras.saving.register_keras_serializable("keras_transfer")
class PreprocessFunction(keras.layers.Layer):
    """Applies a registered function to pixels with values 0..255.

    The file of a model holds the function's name, never its code: who loads the model has the function
    imported. Computes in float32 whatever the precision policy.

    Args:
        function: Takes a float32 tensor (batch, height, width, channels) and returns one. Registered with
            `keras.saving.register_keras_serializable`; or the name under which it is registered.

    Raises:
        InputError: If the function is not registered, which would make a model that cannot be loaded.

    Example:
        >>> import numpy as np
        >>> @keras.saving.register_keras_serializable("docs")
        ... def halved(pixels):
        ...     return pixels / 2
        >>> float(PreprocessFunction(halved)(np.full((1, 1, 1, 3), 9.0))[0, 0, 0, 0])
        4.5
    """

    def __init__(self, function: Callable | str, **kwargs: object) -> None:
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.function = (
            _find_registered(function) if isinstance(function, str) else _check_registered(function)
        )

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Returns what the function makes of the pixels, in float32."""
        return ops.cast(self.function(ops.cast(inputs, "float32")), "float32")

    def compute_output_spec(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """What the function makes of the shape."""
        return keras.Operation.compute_output_spec(self, inputs)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """What the function makes of the shape."""
        return self.compute_output_spec(keras.KerasTensor(input_shape)).shape

    def get_config(self) -> dict:
        """Returns what the constructor takes; the function by its registered name."""
        return {**super().get_config(), "function": keras.saving.get_registered_name(self.function)}


def _check_registered(function: Callable) -> Callable:
    """Returns `function` if a model with it can be saved and loaded."""
    name = getattr(function, "__name__", None)
    if (
        name
        and keras.saving.get_registered_object(keras.saving.get_registered_name(function))
        is function
    ):
        return function
    function_name = name if name and name.isidentifier() else "preprocess"
    line = f"`@keras.saving.register_keras_serializable('my_package')` above `def {function_name}(pixels):`"
    raise checks.error(
        "a preprocessing function must be registered, or a model with it could not be loaded",
        given=name or repr(function),
        fix=f"Write {line}.",
    )


def _find_registered(name: str) -> Callable:
    """Returns the function that is registered under a name."""
    function = keras.saving.get_registered_object(name)
    if function is None:
        raise checks.error(
            "the preprocessing function of a saved model must be registered before the model is loaded",
            given=repr(name),
            fix="Import the module that defines it.",
        )
    return function
