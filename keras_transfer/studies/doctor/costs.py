"""What an epoch of training will take: seconds, measured on a step with the model, and memory, estimated."""

import time
from collections.abc import Iterator
from typing import Any  # tensors

import keras
import numpy as np
from keras import ops

from keras_transfer.graphs import nodes
from keras_transfer.machine import engine, memory
from keras_transfer.studies.doctor import base

__all__ = ["check"]

BATCH = 32  # where the data does not say
TOGETHER = 4  # images of a timed step, at most
STEPS = 2  # timed ones, after one that builds the graph
LONG = 3600.0  # seconds of an epoch that are worth a line
COPIES = 4  # of the weights: themselves, gradients, two moments of the optimizer


def check(case: base.Case) -> Iterator[base.Finding]:
    """Puts the costs into `case.facts`, and yields a finding where an epoch takes hours or more memory than is free."""
    wanted = base.input_shape(case.model)
    if wanted is None or case.model is None:
        return
    usual = (*(case.image_size or (224, 224)), 3)
    shape = tuple(own or given for own, given in zip(wanted, usual, strict=True))
    images = int(case.training.sum())
    batch = _batch_size(case)

    seconds = _time_image(case.model, shape) * images
    training, free = _memory(case.model, shape, batch), memory.free_memory()
    case.facts["costs"] = {
        "seconds_an_epoch": round(seconds, 1),
        "batch_size": batch,
        "memory_of_a_step": training,
        "memory_of_all_images": images * int(np.prod(shape)),
        "free_memory": free,
    }
    if training > free:
        yield base.Finding(
            "error",
            f"a training step takes about {training / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB are free",
            fix="Lower `batch_size` or `image_size`.",
        )
    if seconds > LONG:
        yield base.Finding(
            "note",
            f"an epoch takes about {seconds / 3600:.1f} hours on this machine",
            fix="Lower `image_size`, or train the head first: `kt.fine_tune` computes frozen layers once.",
        )


def _batch_size(case: base.Case) -> int:
    for part in case.parts.values():
        if part.rows and part.steps:
            return -(-part.rows // part.steps)
    return BATCH


def _time_image(model: keras.Model, shape: tuple[int, ...]) -> float:
    """Measures the seconds that a training step takes for an image: forward, backward, nothing changed."""
    images = np.zeros((TOGETHER, *shape), "float32")

    def losses(images: Any) -> list:
        outputs = keras.tree.flatten(model(images, training=False))
        return [sum(ops.mean(ops.cast(each, "float32")) for each in outputs)]

    find_gradients = engine.find_gradients(model, losses, model.trainable_weights)

    def step() -> None:
        for gradient in find_gradients(images)[0]:
            if gradient is not None:
                ops.convert_to_numpy(gradient)  # waits for it

    step()
    begin = time.perf_counter()
    for _ in range(STEPS):
        step()
    return (time.perf_counter() - begin) / (STEPS * TOGETHER)


def _memory(model: keras.Model, shape: tuple[int, ...], batch: int) -> int:
    """Estimates the bytes of a step: weights, gradients, moments, and the outputs of all layers for the gradient."""
    weights = sum(int(np.prod(weight.shape)) for weight in model.weights)
    outputs = 0
    if nodes.is_functional(model):
        for node in nodes.nodes(nodes.flatten(model)):
            for tensor in node.outputs:
                sides = [
                    side or given for side, given in zip(tensor.shape[1:], shape, strict=False)
                ]
                outputs += int(np.prod([side for side in sides if side]))
    return 4 * (COPIES * weights + batch * outputs)
