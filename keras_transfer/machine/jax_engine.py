"""Keras on JAX: the functions of `engine`.

Steps are functions of all state: variables are read before a compiled function is called and are assigned after it.
TensorFlow stays on the host, for data sets and images.
"""

import os
import pathlib
import weakref
from collections.abc import Callable, Sequence
from typing import Any  # tensors, and dicts of them

import jax
import keras
import numpy as np
import tensorflow as tf
from jax.experimental.compilation_cache import compilation_cache

from keras_transfer.machine import jax_strategy

__all__ = [
    "PRECISE",
    "call_with_tensors",
    "count_replicas",
    "describe",
    "devices",
    "find_gradients",
    "free_device_memory",
    "inner_products",
    "jit_compile",
    "make_forward",
    "make_gradient",
    "make_training_pass",
    "predict_on_batch",
    "sum_over_replicas",
    "synchronise",
    "value_and_gradient",
    "version",
]

PRECISE = "float64" if jax.config.jax_enable_x64 else "float32"

FOLDER = "JAX_COMPILATION_CACHE_DIR"
SHORTEST = "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"
OWN_FOLDER = "KERAS_TRANSFER_CACHE"  # as for `kt.features.CacheFolder`


def _keep_compiled() -> None:
    """Keeps what JAX compiles for later processes, unless the user has settled that: networks start in a tenth."""
    if FOLDER in os.environ or jax.config.jax_compilation_cache_dir:
        return
    place = pathlib.Path(os.environ.get(OWN_FOLDER) or "~/.cache/keras_transfer").expanduser()
    compilation_cache.reset_cache()  # JAX may have decided already that there is none
    jax.config.update("jax_compilation_cache_dir", str(place / "jax"))
    if SHORTEST not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


_keep_compiled()
tf.config.set_visible_devices([], "GPU")  # or TensorFlow would take their memory


def version() -> str:
    """Returns the version of JAX."""
    return jax.__version__


def devices() -> list[str]:
    """Returns the names of the accelerators, or of the CPU where there is none."""
    return keras.distribution.list_devices()


def free_device_memory() -> int | None:
    """Returns the free bytes of the accelerator that has least; None where none computes or nothing is known.

    Several processes that train together might decide differently, so for them it is None, too.
    """
    if jax.process_count() > 1:
        return None
    stats = [device.memory_stats() or {} for device in jax.local_devices()]
    if not all("bytes_limit" in each for each in stats):
        return None
    return min(each["bytes_limit"] - each["bytes_in_use"] for each in stats)


def describe() -> list[str]:
    """Returns what decides how JAX rounds, beside the processor."""
    lines = [f"jax={jax.__version__}", f"precision={jax.config.jax_default_matmul_precision}"]
    return [*lines, f"x64={jax.config.jax_enable_x64}", jax.devices()[0].device_kind]


def jit_compile() -> bool | str:
    """Returns "auto": Keras compiles every step."""
    return "auto"


def make_forward(
    model: keras.Model, spec: Any, *, then: Callable[[Any], Any] | None = None
) -> Callable[[Any], Any]:
    """Returns a compiled function from a batch of images to the model's outputs in inference mode.

    It is compiled once for each shape, so smaller batches are filled up to the largest one so far.

    Args:
        model: Whatever its layers' flags say, it runs in inference mode.
        spec: Of the images; not used here.
        then: What to make of the outputs.
    """
    variables = _variables(model)

    @jax.jit
    def run(values: list, images: Any) -> Any:
        with _scope(variables, values):
            outputs = model(jax_strategy.divide(images), training=False)
            return jax_strategy.gather(outputs if then is None else then(outputs))

    return fill_up(lambda images: run(_values(variables), images))


def predict_on_batch(model: keras.Model, images: Any) -> Any:
    """Returns a model's answers for one batch as arrays; smaller batches are filled up to the largest one so far.

    Args:
        model: A model.
        images: A batch; tensors of TensorFlow will do.
    """
    size = max(_largest.get(model, 0), len(keras.tree.flatten(images)[0]))
    _largest[model] = size
    return _run_filled(model.predict_on_batch, images, size)


_largest: weakref.WeakKeyDictionary[keras.Model, int] = weakref.WeakKeyDictionary()


def fill_up(run: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Returns `run` for batches of several sizes: it is called with the largest one so far, and the rest is cut off.

    Example:
        >>> sizes = []
        >>> run = fill_up(lambda batch: sizes.append(len(batch)) or batch)
        >>> [len(run(np.zeros((size, 1)))) for size in (3, 2)], sizes
        ([3, 2], [3, 3])
    """
    largest = 0

    def run_filled(images: Any) -> Any:
        nonlocal largest
        devices = jax_strategy.count_devices()
        largest = max(largest, -(-len(images) // devices) * devices)
        return _run_filled(run, images, largest)

    return run_filled


def _run_filled(run: Callable[[Any], Any], images: Any, size: int) -> Any:
    """Calls `run` with a batch of `size` rows, the last ones copies, and returns as many rows as there were."""
    images = keras.tree.map_structure(np.asarray, images)
    count = len(keras.tree.flatten(images)[0])

    def fill(values: np.ndarray) -> np.ndarray:
        return np.concatenate([values, np.repeat(values[-1:], size - count, axis=0)])

    if 0 < count < size:
        images = keras.tree.map_structure(fill, images)
    return jax.tree.map(lambda each: np.asarray(each)[:count], run(images))


def call_with_tensors(model: keras.Model, images: Any) -> Any:
    """Returns a model's outputs in inference mode for tensors of TensorFlow, as such tensors."""
    return keras.tree.map_structure(tf.convert_to_tensor, predict_on_batch(model, images))


def make_training_pass(model: keras.Model) -> Callable[[Any], None]:
    """Returns a compiled function that runs the model in training mode: statistics and seeds move, weights stay."""
    variables = _variables(model)

    @jax.jit
    def step(values: list, images: Any) -> list:
        with _scope(variables, values) as scope:
            model(images, training=True)
        return [scope.get_current_value(each) for each in model.non_trainable_variables]

    def run(images: Any) -> None:
        moved = step(_values(variables), np.asarray(images))
        for variable, value in zip(model.non_trainable_variables, moved, strict=True):
            variable.assign(value)

    return run


def make_gradient(model: keras.Model, variables: Sequence[keras.Variable]) -> Callable[..., list]:
    """Returns a compiled function from a batch to the gradients of the loss in inference mode.

    Args:
        model: Compiled.
        variables: Of which gradients are wanted; zeros stand where the loss does not depend on one.
    """

    def losses(images: Any, targets: Any, weights: Any = None) -> list:
        outputs = model(images, training=False)
        return [model.compute_loss(images, targets, outputs, weights, training=False)]

    by_loss = find_gradients(model, losses, variables)
    return lambda *batch: by_loss(*batch)[0]


def find_gradients(
    model: keras.Model, losses: Callable[..., list], variables: Sequence[keras.Variable]
) -> Callable[..., list[list]]:
    """Returns a compiled function from a batch to the gradients of each of several losses, from one forward pass.

    Args:
        model: Runs within `losses`.
        losses: From a batch to a list of scalars.
        variables: Of which gradients are wanted; zeros stand where a loss does not depend on one.
    """
    wanted = {id(variable) for variable in variables}
    others = [variable for variable in _variables(model) if id(variable) not in wanted]

    @jax.jit
    def step(values: list, rest: list, batch: tuple) -> list[list]:
        def scalars(values: list) -> list:
            with _scope([*variables, *others], [*values, *rest]):
                return losses(*batch)

        outputs, pull = jax.vjp(scalars, values)
        one_hot = np.eye(len(outputs), dtype="float32")
        rows = [list(map(jax.numpy.asarray, row)) for row in one_hot]
        return [pull(row)[0] for row in rows]

    def run(*batch: Any) -> list[list]:
        arrays = keras.tree.map_structure(np.asarray, batch, none_is_leaf=False)
        return step(_values(variables), _values(others), arrays)

    return run


def value_and_gradient(function: Callable[[Any], Any], at: Any) -> tuple[Any, Any]:
    """Returns what a function gives, and the gradient of its sum by what it takes."""

    def total(inputs: Any) -> tuple:
        values = function(inputs)
        return values.sum(), values

    gradient, values = jax.grad(total, has_aux=True)(at)
    return values, gradient


def inner_products(rows: Any) -> Any:
    """Returns the inner products of all pairs of rows; accelerators would round the factors to bfloat16."""
    return jax.numpy.matmul(rows, rows.T, precision=jax.lax.Precision.HIGHEST)


def count_replicas() -> int:
    """Returns 1: a step is one program over all devices, which sees the whole batch."""
    return 1


def sum_over_replicas(value: Any) -> Any:
    """Returns `value`, which is that of the whole batch."""
    return value


def synchronise(model: keras.Model) -> None:
    """Makes the variables of a model hold what a running `fit` has made of them; within an epoch they are empty."""
    model.jax_state_sync()


def _variables(model: keras.Model) -> list[keras.Variable]:
    return [*model.trainable_variables, *model.non_trainable_variables]


def _values(variables: Sequence[keras.Variable]) -> list:
    return [variable.value for variable in variables]


def _scope(variables: Sequence[keras.Variable], values: Sequence) -> keras.StatelessScope:
    """Returns a scope in which variables have other values, and nothing is assigned for good."""
    return keras.StatelessScope(list(zip(variables, values, strict=True)), collect_losses=True)
