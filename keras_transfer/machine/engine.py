"""What Keras computes with, TensorFlow or JAX: the only module that asks, and what the two do differently.

Each of them has a module with the same functions. A function that is made here keeps to one promise on both: it takes
batches as data sets give them and returns what NumPy reads.
"""

import types

import keras

from keras_transfer.core import checks

__all__ = [
    "NAME",
    "PRECISE",
    "call_with_tensors",
    "count_replicas",
    "describe",
    "devices",
    "find_gradients",
    "free_device_memory",
    "inner_products",
    "is_jax",
    "jit_compile",
    "make_forward",
    "make_gradient",
    "make_training_pass",
    "predict_on_batch",
    "require_tensorflow",
    "sum_over_replicas",
    "synchronise",
    "value_and_gradient",
    "version",
]

NAME = keras.backend.backend()
"""The engine: "tensorflow" or "jax"."""

_engine: types.ModuleType
if NAME == "tensorflow":
    from keras_transfer.machine import tensorflow_engine

    _engine = tensorflow_engine
elif NAME == "jax":
    from keras_transfer.machine import jax_engine

    _engine = jax_engine
else:
    raise checks.error(
        "Keras must run on TensorFlow or JAX",
        given=NAME,
        fix="Set the environment variable KERAS_BACKEND to tensorflow or jax before Keras is imported.",
    )

PRECISE = _engine.PRECISE
"""The widest type of floats."""

call_with_tensors = _engine.call_with_tensors
count_replicas = _engine.count_replicas
describe = _engine.describe
devices = _engine.devices
find_gradients = _engine.find_gradients
free_device_memory = _engine.free_device_memory
inner_products = _engine.inner_products
jit_compile = _engine.jit_compile
make_forward = _engine.make_forward
make_gradient = _engine.make_gradient
make_training_pass = _engine.make_training_pass
predict_on_batch = _engine.predict_on_batch
sum_over_replicas = _engine.sum_over_replicas
synchronise = _engine.synchronise
value_and_gradient = _engine.value_and_gradient
version = _engine.version


def is_jax() -> bool:
    """Returns whether Keras runs on JAX, for the few parts that are written once for each engine.

    Example:
        >>> is_jax() == (NAME == "jax")
        True
    """
    return NAME == "jax"


def require_tensorflow(what: str, *, fix: str = "") -> None:
    """Raises an error where Keras runs on JAX.

    Args:
        what: What needs TensorFlow, as the subject of a sentence.
        fix: What else to do; by default to run on TensorFlow.

    Raises:
        InputError: If Keras runs on another engine.

    Example:
        >>> require_tensorflow("a SavedModel") is None
        True
    """
    if NAME == "tensorflow":
        return
    hint = "Set the environment variable KERAS_BACKEND=tensorflow before Keras is imported."
    raise checks.error(f"{what} needs Keras's TensorFlow backend", given=NAME, fix=fix or hint)
