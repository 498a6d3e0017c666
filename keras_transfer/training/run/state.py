"""What a run needs to go on after it was killed: one file, replaced as a whole at the end of every epoch.

The file holds arrays and JSON, no code. It has every variable that training changes: weights, the states of
random layers, the optimizer's slots and counters.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import random
from collections.abc import Iterator
from typing import NamedTuple

import keras
import numpy as np

from keras_transfer.core import checks, processes
from keras_transfer.graphs import paths
from keras_transfer.training.run import arrays
from keras_transfer.training.run.record import plain

__all__ = ["FILE", "Checkpoint", "Saved", "forget", "lock", "read", "restore", "start"]

FILE = "state.npz"
START = "start.npz"
LOCK = "run.lock"
_FACTS = "facts"


class Saved(NamedTuple):
    """A state as it was written."""

    arrays: dict[str, np.ndarray]
    facts: dict

    @property
    def is_of_second_run(self) -> bool:
        """Whether the second run, which trains on all images, was the one that was killed."""
        return self.facts["chosen"] is not None

    def of_first_run(self) -> "Saved":
        """Returns the state of the first run: where it was killed, or its end if the second run was killed."""
        return self._replace(facts={**self.facts, **(self.facts["chosen"] or {})})


@dataclasses.dataclass
class Checkpoint:
    """Writes the state of a run at the end of every epoch.

    Attributes:
        folder: Where.
        fingerprint: What a run that goes on must have in common with this one.
        first_run: In a second run, the facts of the first one at its end.
    """

    folder: pathlib.Path
    fingerprint: dict
    first_run: dict | None = None

    def write(self, model: keras.Model, facts: dict) -> None:
        """Writes the variables of a compiled model whose optimizer is built, and the facts of its run."""
        if not processes.writes():
            return
        values = {
            name: keras.ops.convert_to_numpy(value) for name, value in _variables(model).items()
        }
        facts = {**facts, "fingerprint": self.fingerprint, "chosen": self.first_run}
        text = json.dumps({**plain(facts), "dice": _dice()})
        values[_FACTS] = np.frombuffer(text.encode(), np.uint8)
        arrays.write(self.folder / FILE, values, what="The state")


def _variables(model: keras.Model) -> dict[str, keras.Variable]:
    """Everything that an epoch changes, by place and name; metrics start anew in every epoch.

    A model may have `companions`, variables that learn beside it.
    """
    metrics = {id(variable) for metric in model.metrics for variable in metric.variables}
    mine = [variable for variable in model.variables if id(variable) not in metrics]
    own = {f"model/{place}/{_name(variable)}": variable for place, variable in enumerate(mine)}
    slots = {
        f"optimizer/{place}/{_name(slot)}": slot
        for place, slot in enumerate(model.optimizer.variables)
    }
    beside = {
        f"beside/{place}/{_name(variable)}": variable
        for place, variable in enumerate(getattr(model, "companions", ()))
    }
    return {**own, **slots, **beside}


def _name(variable: keras.Variable) -> str:
    """A random layer's counter has a number in its name that differs between processes."""
    return "seed" if "seed_generator" in variable.path else variable.name


def _dice() -> dict:
    """The states of the generators of Python and NumPy."""
    numpy = [
        part if isinstance(part, str | int | float) else part.tolist()
        for part in np.random.get_state()
    ]
    return {"python": random.getstate(), "numpy": numpy}


def read(folder: str | os.PathLike) -> Saved | None:
    """Returns the state in a folder, None where there is none."""
    file = pathlib.Path(folder) / FILE
    if not file.is_file():
        return None
    values = arrays.read(file)
    facts = json.loads(values.pop(_FACTS).tobytes())
    return Saved(values, facts)


def restore(model: keras.Model, saved: Saved) -> None:
    """Puts a state into a model that is compiled as it was when the state was written.

    Raises:
        InputError: If the state is of another model or optimizer; nothing has been changed then.
    """
    values, facts = saved
    arrays.assign(_variables(model), values)
    version, words, place = facts["dice"]["python"]
    random.setstate((version, tuple(words), place))
    name, keys, *rest = facts["dice"]["numpy"]
    np.random.set_state((name, np.array(keys, np.uint32), *rest))


def start(
    model: keras.Model, folder: pathlib.Path | None, *, resumed: bool
) -> dict[str, np.ndarray]:
    """Returns the weights with which a run began, by path; they are kept in its folder for the runs that go on.

    Args:
        model: As it is before the run, or before it goes on.
        folder: Of the run, or None.
        resumed: Whether the run goes on.
    """
    if resumed and folder is not None and (folder / START).is_file():
        return arrays.read(folder / START)
    values = {
        path: keras.ops.convert_to_numpy(value) for path, value in paths.variables(model).items()
    }
    if folder is not None:
        arrays.write(folder / START, values, what="The first weights")
    return values


def forget(folder: pathlib.Path) -> None:
    """Deletes the resume files of a finished or abandoned run."""
    if not processes.writes():
        return
    for name in (FILE, START):
        (folder / name).unlink(missing_ok=True)
        for half in folder.glob(f".*.{name}"):  # of a process that was killed while it wrote
            half.unlink(missing_ok=True)


@contextlib.contextmanager
def lock(folder: str | os.PathLike) -> Iterator[None]:
    """Holds a folder for this process; the system lets go of it when the process ends, however it ends.

    Raises:
        InputError: If another process, or another run of this one, holds it.
    """
    try:
        import fcntl
    except ImportError:  # Windows has no such locks: there two runs can write to one folder.
        yield
        return
    path = pathlib.Path(folder) / LOCK
    try:
        file = path.open("a+")
    except OSError as failed:
        checks.note(
            f"{path} could not be written ({failed.strerror}): a second run there would not be noticed."
        )
        yield
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as held:
            raise checks.error(
                "`run_dir` must not be in use",
                given=repr(str(folder)),
                fix="Another run writes there; choose another folder.",
            ) from held
        try:
            yield
        finally:
            path.unlink(
                missing_ok=True
            )  # before the lock is released, so that it is not another run's
