"""Keras on TensorFlow: the functions of `engine`."""

from collections.abc import Callable, Sequence
from typing import Any  # tensors, and dicts of them

import keras
import tensorflow as tf

from keras_transfer.core import processes

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

PRECISE = "float64"


def version() -> str:
    """Returns the version of TensorFlow."""
    return tf.__version__


def devices() -> list[str]:
    """Returns the names of the accelerators, or of the CPU where there is none."""
    found = [device.name for device in tf.config.list_logical_devices()]
    accelerators = [name for name in found if ":CPU:" not in name]
    return accelerators or found


def free_device_memory() -> int | None:
    """Returns the free bytes of the accelerator that has least; None where none computes or nothing is known.

    Several processes that train together might decide differently, so for them it is None, too.
    """
    gpus = [device.name.partition("device:")[2] for device in tf.config.list_logical_devices("GPU")]
    if not gpus or processes.are_several():
        return None
    with tf.compat.v1.Session(graph=tf.Graph()) as session:  # nothing else tells the limit
        limits = {
            device.name.partition("device:")[2]: device.memory_limit_bytes
            for device in session.list_devices()
        }
    if not all(name in limits for name in gpus):  # parts of a GPU, as the user has divided it
        return None
    used = {name: tf.config.experimental.get_memory_info(name)["current"] for name in gpus}
    return min(limits[name] - used[name] for name in gpus)


def describe() -> list[str]:
    """Returns what decides how TensorFlow rounds, beside the processor and its kernels."""
    lines = [f"tensorflow={tf.__version__}"]
    for device in tf.config.list_physical_devices("GPU"):
        details = tf.config.experimental.get_device_details(device)
        lines.append(str(details.get("device_name")))
    lines.append(f"tf32={tf.config.experimental.tensor_float_32_execution_enabled()}")
    lines.append(f"jit={tf.config.optimizer.get_jit()}")
    return lines


def jit_compile() -> bool | str:
    """Returns "auto" (Keras chooses) if there is an accelerator, else False: on CPUs XLA slows depthwise networks."""
    found = tf.config.list_physical_devices()
    return "auto" if any(device.device_type in ("GPU", "TPU") for device in found) else False


def make_forward(
    model: keras.Model, spec: tf.TensorSpec, *, then: Callable[[Any], Any] | None = None
) -> Callable[[Any], Any]:
    """Returns a traced function from a batch of images to the model's outputs in inference mode.

    Args:
        model: Whatever its layers' flags say, it runs in inference mode.
        spec: Of the images, with any batch size.
        then: What to make of the outputs.
    """

    def run(images: tf.Tensor) -> Any:
        outputs = model(images, training=False)
        return outputs if then is None else then(outputs)

    return tf.function(run, input_signature=[spec], autograph=False)


def predict_on_batch(model: keras.Model, images: Any) -> Any:
    """Returns a model's answers for one batch as arrays; `predict` takes longer to start."""
    return model.predict_on_batch(images)


def call_with_tensors(model: keras.Model, images: Any) -> Any:
    """Returns a model's outputs in inference mode for tensors of TensorFlow, as such tensors."""
    return model(images, training=False)


def make_training_pass(model: keras.Model) -> Callable[[Any], None]:
    """Returns a traced function that runs the model in training mode: statistics and seeds move, weights stay."""

    @tf.function(reduce_retracing=True)
    def run(images: tf.Tensor) -> None:
        model(images, training=True)

    return run


def make_gradient(model: keras.Model, variables: Sequence[keras.Variable]) -> Callable[..., list]:
    """Returns a traced function from a batch to the gradients of the loss in inference mode.

    Args:
        model: Compiled.
        variables: Of which gradients are wanted; None stands for those that the loss does not depend on.
    """

    @tf.function(jit_compile=False)
    def run(images: tf.Tensor, targets: Any, weights: Any = None) -> list:
        with tf.GradientTape() as tape:
            outputs = model(images, training=False)
            loss = model.compute_loss(images, targets, outputs, weights, training=False)
        return tape.gradient(loss, [variable.value for variable in variables])

    return run


def find_gradients(
    model: keras.Model, losses: Callable[..., list], variables: Sequence[keras.Variable]
) -> Callable[..., list[list]]:
    """Returns a traced function from a batch to the gradients of each of several losses, from one forward pass.

    Args:
        model: Runs within `losses`.
        losses: From a batch to a list of scalars.
        variables: Of which gradients are wanted; None stands for those that a loss does not depend on.
    """
    values = [variable.value for variable in variables]

    @tf.function(reduce_retracing=True)
    def run(*batch: Any) -> list[list]:
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            tape.watch(values)
            scalars = losses(*batch)
        return [tape.gradient(scalar, values) for scalar in scalars]

    return run


def value_and_gradient(function: Callable[[Any], Any], at: Any) -> tuple[Any, Any]:
    """Returns what a function gives, and the gradient of its sum by what it takes; None where there is none."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(at)
        values = function(at)
    return values, tape.gradient(values, at)


def inner_products(rows: Any) -> Any:
    """Returns the inner products of all pairs of rows, without rounding the factors."""
    return tf.matmul(rows, rows, transpose_b=True)


def count_replicas() -> int:
    """Returns how many replicas the current strategy has; 1 without a strategy."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def sum_over_replicas(value: Any) -> Any:
    """Returns the sum of `value` over the replicas of a training step; `value` itself where there is only one."""
    if count_replicas() == 1:
        return value
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, value)


def synchronise(model: keras.Model) -> None:
    """Makes the variables of a model hold what a running `fit` has made of them: here they always do."""
