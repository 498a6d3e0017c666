"""The model that `fit` sees in a stage, where it is not the user's own: with low-rank updates, or with a penalty.

The user's model never carries what a stage adds: it is not saved, exported or counted.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import keras
import numpy as np

from keras_transfer.core import checks
from keras_transfer.graphs import compiling, paths
from keras_transfer.training.stages import Stage

__all__ = ["Vehicle", "check", "vehicle"]


class Vehicle(NamedTuple):
    """What is trained in a stage."""

    model: keras.Model
    settle: Callable[[], None]
    """Brings what was learned so far into the user's model."""


def check(model: keras.Model, stage: Stage) -> None:
    """Raises an error if `vehicle` could not be made; `model` has its flags set already."""
    if stage.lora is not None and not _adaptable(model, stage.lora):
        raise checks.error(
            "`lora` must be below the width of some dense or convolution layer that trains",
            given=stage.lora,
            fix="Lower the rank, or unfreeze layers of these kinds.",
        )
    if stage.regulariser is not None:
        stage.regulariser.check(model)


@contextlib.contextmanager
def vehicle(
    model: keras.Model, stage: Stage, *, start: Mapping[str, np.ndarray] | None = None
) -> Iterator[Vehicle]:
    """Gives the model to train in `stage`; `model` has its flags set already, and is settled by the caller.

    Args:
        model: The user's model.
        stage: What is asked for.
        start: The pretrained weights by path, for a regulariser; by default the present ones.
    """
    if stage.lora is not None:
        yield _low_rank(model, stage.lora)
    elif stage.regulariser is not None:
        with stage.regulariser.attached(model, reference=start or None) as training_model:
            if training_model is not model:
                compiling.compile_like(training_model, model)
            yield Vehicle(training_model, lambda: None)
    else:
        yield Vehicle(model, lambda: None)


def _adaptable(model: keras.Model, rank: int) -> list[str]:
    """The paths of the layers that train and whose kernels are wider than `rank`."""
    return [
        path
        for path, layer in paths.leaves(model).items()
        if layer.trainable
        and layer.weights
        and hasattr(layer, "enable_lora")
        and min(layer.kernel.shape[-2:]) > rank
    ]


def _low_rank(model: keras.Model, rank: int) -> Vehicle:
    """A copy of `model` whose kernels stay, while low-rank updates to them train."""
    copy = type(model).from_config(
        model.get_config()
    )  # clone_model would copy an optimizer of an earlier stage
    copy.set_weights(model.get_weights())
    theirs = paths.leaves(copy)
    for path, layer in paths.leaves(model).items():
        theirs[path].trainable = layer.trainable
    for path in _adaptable(model, rank):
        theirs[path].enable_lora(rank)
    compiling.compile_like(copy, model)

    def settle() -> None:
        for path, layer in paths.leaves(model).items():
            mine = theirs[path]
            if getattr(mine, "lora_enabled", False):
                layer.kernel.assign(mine.kernel)  # the property adds the update to the kernel
                if getattr(mine, "bias", None) is not None:
                    layer.bias.assign(mine.bias)
                continue
            for variable, learned in zip(layer.weights, mine.weights, strict=True):
                variable.assign(learned)

    return Vehicle(copy, settle)
