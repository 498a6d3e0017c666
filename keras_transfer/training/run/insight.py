"""How training moves a network, block by block: distances from the first weights, and norms of gradients."""

import functools
from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np

from keras_transfer import layers
from keras_transfer.core import checks
from keras_transfer.graphs import paths
from keras_transfer.layers import marks
from keras_transfer.machine import engine
from keras_transfer.training import freezing

__all__ = ["WATCHED", "Insight", "check"]

WATCHED = ("distance", "gradient")


def check(watch: str | Sequence[str]) -> tuple[str, ...]:
    """Returns the names of what to watch, or raises an error."""
    names = (watch,) if isinstance(watch, str) else tuple(watch)
    return tuple(checks.choice(name, WATCHED, name="watch") for name in names)


class Insight:
    """Measures a model at the end of epochs.

    A block's distance is `|w - w0| / |w0|` over its weights that training can change (statistics of batch
    normalisation apart), all heads together being one block. Its gradient norm is that of the loss on one
    batch, in inference mode and over the weights that train in the stage.

    Args:
        model: The user's model.
        start: Its weights when the run began, by path.
        watch: "distance", which costs next to nothing; "gradient", which traces one more step a stage.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="dense")])
        >>> start = {path: np.asarray(value) for path, value in paths.variables(model).items()}
        >>> model.set_weights([2 * start["dense/kernel"], start["dense/bias"]])
        >>> Insight(model, start, ["distance"]).measure()["distance"]
        {'head': 1.0}
    """

    def __init__(
        self, model: keras.Model, start: Mapping[str, np.ndarray], watch: Sequence[str]
    ) -> None:
        self.model = model
        self.start = start
        self.watch = check(watch)
        self.blocks = _blocks(model)
        self._variables = paths.variables(model)
        self._gradient: Callable[..., list] | None = None
        self._moving: set[str] | None = None
        self._last: dict[str, float] = {}

    def measure(self, batch: tuple | None = None) -> dict[str, dict[str, float]]:
        """Returns a number by block for everything that is watched; gradients where a batch is given."""
        measured = {}
        if "distance" in self.watch:
            measured["distance"] = self._distances()
        if "gradient" in self.watch and batch is not None:
            measured["gradient"] = self._gradients(batch)
        return measured

    def new_stage(self) -> None:
        """Forgets which layers train."""
        self._gradient = None
        self._moving = None

    @functools.cached_property
    def _sizes(self) -> dict[str, float]:
        """The squared norm of each block's first weights."""
        sizes = {}
        for name, weights in self.blocks.items():
            sizes[name] = sum(float(np.square(self.start[path]).sum()) for path in weights)
        return sizes

    def _distances(self) -> dict[str, float]:
        """Returns all blocks' distances; once known, only those of blocks that train are measured again."""
        for name, weights in self.blocks.items():
            if self._moving is not None and name not in self._moving:
                continue
            moved = (np.asarray(self._variables[path]) - self.start[path] for path in weights)
            with np.errstate(over="ignore", invalid="ignore"):  # training may have diverged
                distance = sum(float(np.square(part).sum()) for part in moved)
            self._last[name] = 0.0
            if self._sizes[name]:
                self._last[name] = round(float(np.sqrt(distance / self._sizes[name])), 6)

        if self._moving is None:
            trained = set(self._trained())
            self._moving = {
                name for name, weights in self.blocks.items() if trained.intersection(weights)
            }
        return dict(self._last)

    def _trained(self) -> list[str]:
        """Returns the paths of the blocks' weights that train in the stage."""
        trained = {id(variable) for variable in self.model.trainable_variables}
        return [
            path
            for weights in self.blocks.values()
            for path in weights
            if id(self._variables[path]) in trained
        ]

    def _gradients(self, batch: tuple) -> dict[str, float]:
        named = {path: self._variables[path] for path in self._trained()}
        if self._gradient is None:
            self._gradient = engine.make_gradient(self.model, list(named.values()))
        values = dict(zip(named, self._gradient(*batch), strict=True))
        norms = {}
        for name, weights in self.blocks.items():
            gradients = [values[path] for path in weights if values.get(path) is not None]
            squares = [float(keras.ops.sum(keras.ops.square(each))) for each in gradients]
            if squares:
                norms[name] = round(float(np.sqrt(sum(squares))), 6)
        return norms


def _blocks(model: keras.Model) -> dict[str, list[str]]:
    """Returns the paths of the weights of each block, bottom to top; "head" for the layers above the trunk."""
    leaves = paths.leaves(model)
    heads = set(freezing.head(model))
    parts = {}
    for block in marks.blocks(model):
        parts[block.name] = [path for path in block.layers if path not in heads]
    if heads:
        parts["head"] = [path for path in leaves if path in heads]
    names = [
        name for name in paths.variables(model) if not name.rpartition("/")[2].startswith("moving_")
    ]
    weights_by_block = {}
    for block_name, inside in parts.items():
        learning = [path for path in inside if not isinstance(leaves[path], layers.Balance)]
        weights = [name for path in learning for name in names if name.startswith(f"{path}/")]
        if weights:
            weights_by_block[block_name] = weights
    return weights_by_block
