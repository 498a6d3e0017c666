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
    """Copies what was learned so far into the user's model; called after each epoch and at the end of the stage."""


class Method:
    """Trains a stage of `kt.fine_tune`; this class does it as `fit` does.

    Subclass it for one of your own and pass an object as `kt.Stage(method=...)`. A method that changes the training
    step overrides `attach`; to add a penalty to the loss, subclass `kt.training.Regulariser` instead. One that replaces
    `fit` sets `replaces_fit` and overrides `solve` and `describe`. `get_config` returns what the constructor takes.

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
        """Gives what `fit` trains in the stage; leaving the `with` block takes off what was added.

        If that is another model than `model`, compile it here with `graphs.compiling.compile_like`. The caller then
        gives it the optimizer of the stage and calls `settle`.

        Args:
            model: The user's model, compiled, its flags set.
            reference: The pretrained state: a model, or arrays by path; by default `model` as it is.
        """
        yield Trainee(model)

    def solve(self, model: keras.Model, data: object, *, cached: Mapping | None = None) -> dict:
        """Changes `model` in place, in a stage without `fit`, and returns what to record, as plain values.

        Args:
            model: The user's model, its flags set.
            data: The checked data of the run, `training.inputs.Inputs`.
            cached: Arrays that enter the heads, by split ("train", "validation") and task; None where they are not
                cached.
        """
        raise NotImplementedError

    def describe(self, facts: dict) -> str:
        """Returns the line to print about `facts`, which `solve` returned."""
        raise NotImplementedError

    def facts(self) -> dict:
        """Returns what the record of a stage says about its method: class and config, of plain training nothing."""
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
