"""How a stage trains: the protocol of a method, whose base class is plain training.

A method changes the training step (low-rank updates, penalties) or replaces `fit` as a whole (a solved head).
The user's model never carries what a stage adds: it is not saved, exported or counted.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, TypeAlias

import keras
import numpy as np

__all__ = ["Method", "Reference", "Trainee"]

Reference: TypeAlias = keras.Model | Mapping[str, np.ndarray] | None


class Trainee(NamedTuple):
    """What `fit` trains in a stage."""

    model: keras.Model
    settle: Callable[[], None] = lambda: None
    """Copies what was learned so far into the user's model."""


class Method:
    """Trains a stage of `kt.fine_tune`; this class does it as `fit` does.

    Subclass it, pass an object as `kt.Stage(method=...)`, and override `attach`; or set `replaces_fit` and override
    `solve`. `get_config` returns what the constructor takes.

    Example:
        >>> Method()
        Method()
    """

    replaces_fit = False
    """Whether the stage calls `solve` once and takes no epochs."""
    needs_images = False
    """Whether a step looks below the layers that train, so that outputs of frozen layers cannot be cached."""
    adds_variables = False
    """Whether variables train that exist only while the method is attached."""

    def check(self, model: keras.Model) -> None:
        """Raises an error if the method cannot train `model`, whose flags are set; called before training starts."""

    @contextlib.contextmanager
    def attach(self, model: keras.Model, *, reference: Reference = None) -> Iterator[Trainee]:
        """Gives what `fit` trains; it is compiled like `model` and settled by the caller.

        Args:
            model: The user's model, compiled, its flags set.
            reference: The pretrained state: a model, or arrays by path; by default `model` as it is.
        """
        yield Trainee(model)

    def solve(self, model: keras.Model, data: object, *, cached: Mapping | None = None) -> dict:
        """Changes `model` in place, in a stage without `fit`, and returns what there is to record.

        Args:
            model: The user's model, its flags set.
            data: The checked data of the run.
            cached: What enters the heads, by split and task, where it is cached.
        """
        raise NotImplementedError

    def describe(self, facts: dict) -> str:
        """Returns the line to print about what `solve` returned."""
        raise NotImplementedError

    def facts(self) -> dict:
        """Returns what the record of a stage says about its method; nothing of plain training."""
        if type(self) is Method:
            return {}
        return {"method": {"class": type(self).__name__, **self.get_config()}}

    def get_config(self) -> dict:
        """Returns what the constructor takes."""
        return {}

    @classmethod
    def from_config(cls, config: dict) -> "Method":
        """Makes the method again from its config."""
        return cls(**config)

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({arguments})"
