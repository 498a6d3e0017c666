"""The protocol of a task, and the head that vector tasks share."""

import re
from collections.abc import Sequence

import keras
import numpy as np

from keras_transfer import layers
from keras_transfer.core import checks

__all__ = ["POOLING", "Task"]

POOLING = ("avg", "max", "concat")


class Task:
    """A head with its loss, metrics and answers; subclass it for a task of your own.

    A subclass sets `kind` and `units` and overrides what follows `head`. Its constructor checks and
    stores; `get_config` returns what the constructor takes, and the class is registered with
    `keras.saving.register_keras_serializable`, because the task is saved inside the model.

    Args:
        hidden: Widths of the hidden layers between pooling and output.
        dropout: Share dropped before every dense layer of the head.
        pooling: "avg", "max" or "concat" (both) over the feature map's places.
        level: Where in the trunk the head starts, "P2" to "P5" of `backbone.levels`; by default at its end.
        stop_gradient: Whether the task trains its head only: the trunk learns nothing from it.

    Example:
        >>> Task(hidden=[64]).hidden
        [64]
    """

    kind = "task"
    score = "score"
    """Which number of `measure` sums a model up, where models are compared."""

    higher_is_better = True
    """Whether more of it is better."""

    class_names: list[str] | None = None
    has_unit = False
    """Whether the answer has a unit, whose scale and offset are taken from the training targets."""

    level: str | None = None
    stop_gradient = False

    def __init__(
        self,
        *,
        hidden: Sequence[int] = (),
        dropout: float = 0.0,
        pooling: str = "avg",
        level: str | None = None,
        stop_gradient: bool = False,
    ) -> None:
        self.hidden = [checks.integer(width, name="hidden") for width in hidden]
        self.dropout = checks.share(dropout, name="dropout")
        self.pooling = checks.choice(pooling, POOLING, name="pooling")
        if level is not None and not (isinstance(level, str) and re.fullmatch(r"P\d", level)):
            raise checks.error(
                "`level` must be None or a level of the backbone such as 'P4'", given=repr(level)
            )
        self.level = level
        self.stop_gradient = bool(checks.choice(stop_gradient, (False, True), name="stop_gradient"))

    @property
    def units(self) -> int:
        """Width of the head's last dense layer."""
        raise NotImplementedError

    def head(self, features: keras.KerasTensor, *, name: str) -> keras.KerasTensor:
        """Puts the head on a feature map (or vector); its layers are named `<name>_...`, its output `name`."""
        x = self._pool(features, name)
        for number, width in enumerate(self.hidden, 1):
            x = self._drop(x, f"{name}_dropout_{number}")
            x = keras.layers.Dense(width, activation="relu", name=f"{name}_hidden_{number}")(x)
        x = self._drop(x, f"{name}_dropout")
        x = keras.layers.Dense(self.units, name=f"{name}_logits")(x)
        return layers.TaskOutput(self, name=name)(x)

    def _pool(self, features: keras.KerasTensor, name: str) -> keras.KerasTensor:
        if len(features.shape) == 2:
            return features
        pools = {"avg": keras.layers.GlobalAveragePooling2D, "max": keras.layers.GlobalMaxPooling2D}
        if self.pooling in pools:
            return pools[self.pooling](name=f"{name}_pool")(features)
        both = [pool(name=f"{name}_pool_{kind}")(features) for kind, pool in pools.items()]
        return keras.layers.Concatenate(name=f"{name}_pool")(both)

    def _drop(self, x: keras.KerasTensor, name: str) -> keras.KerasTensor:
        return keras.layers.Dropout(self.dropout, name=name)(x) if self.dropout else x

    def activate(self, outputs: keras.KerasTensor) -> keras.KerasTensor:
        """Turns the head's last tensor into the answer that `predict` returns."""
        raise NotImplementedError

    def loss(self, targets: np.ndarray | None = None) -> keras.losses.Loss:
        """Returns the loss; `targets` of the training data settle what depends on them."""
        raise NotImplementedError

    def metrics(self) -> list[keras.metrics.Metric]:
        """Returns new metrics for `compile`."""
        raise NotImplementedError

    def encode(self, targets: np.ndarray) -> np.ndarray:
        """Checks a user's targets and turns them into what the loss takes."""
        raise NotImplementedError

    def decode(self, outputs: object) -> dict:
        """Turns the model's output into the answers that a server gives, with TensorFlow operations."""
        raise NotImplementedError

    def measure(self, targets: np.ndarray, outputs: np.ndarray) -> dict:
        """Scores outputs against targets, as a dict that goes into JSON."""
        raise NotImplementedError

    def needs_targets(self) -> bool:
        """Whether `loss` or the answer's unit depends on the training targets."""
        return self.has_unit

    def get_config(self) -> dict:
        """Returns what the constructor takes."""
        config = {"hidden": self.hidden, "dropout": self.dropout, "pooling": self.pooling}
        # Only where they are set: a task of somebody's own may have a constructor that does not take them.
        places = {"level": self.level, "stop_gradient": self.stop_gradient}
        return config | {name: value for name, value in places.items() if value}

    @classmethod
    def from_config(cls, config: dict) -> "Task":
        """Makes the task again from its config."""
        return cls(**config)
