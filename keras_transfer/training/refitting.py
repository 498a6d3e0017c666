"""Using the validation images twice: to choose the best epoch, then to train."""

import dataclasses
import hashlib
import json

import keras
import numpy as np

from keras_transfer.core import checks, paths
from keras_transfer.training import facts, inputs
from keras_transfer.training.best import Best
from keras_transfer.training.record import plain
from keras_transfer.training.run import Position, Run
from keras_transfer.training.stages import Stage

__all__ = ["fingerprint", "refit", "wanted"]

SHARE = 4  # of the length of the stage that was best, to train on with all images
MANY = 5000  # images; above, a share more of them is worth less than the time


def wanted(asked: bool | None, data: object, *, is_open: bool) -> bool:
    """Whether to train again on training and validation images together.

    Args:
        asked: What the user said; None leaves it to the package.
        data: As the user gave it.
        is_open: Whether the recipe was left to the package.
    """
    if asked not in (None, True, False):
        raise checks.error("`refit` must be True, False or None", given=repr(asked))
    possible = hasattr(data, "joined") and data.validation is not None
    if asked and not possible:
        raise checks.error("`refit` needs data from kt.data with a validation part", given=type(data).__name__)
    if asked is None:
        return bool(is_open and possible and data.test is not None and _size(data) <= MANY)
    return asked


def _size(data: object) -> int:
    return sum(len(data.examples[split]) for split in ("train", "validation"))


def fingerprint(
    model: keras.Model, given: inputs.Inputs, plan: list[Stage], *, seed: int | None, augment: object, refit: bool
) -> dict:
    """What two runs must have in common for one to go on where the other stopped."""
    weights = [[path, list(variable.shape)] for path, variable in paths.variables(model).items()]
    arguments = {
        "stages": facts.of_plan(plan),
        "augment": None if augment is None else augment.get_config(),
        "refit": refit,
    }
    return {
        "model": hashlib.sha256(json.dumps(weights).encode()).hexdigest(),
        "data": [
            given.digest,
            *given.dealing,
            given.known_steps,
            _digest(given.targets),
            repr(given.train.element_spec),
        ],
        "arguments": json.loads(json.dumps(plain(arguments))),
        "seed": seed,
    }


def _digest(targets: object) -> str | None:
    """Tells data apart that have no digest of their own."""
    if targets is None:
        return None
    parts = [np.asarray(values) for values in keras.tree.flatten(targets)]
    return hashlib.sha256(b"".join(repr(part.tolist()).encode() for part in parts)).hexdigest()


def refit(run: Run, data: object) -> None:
    """Goes on from the best weights for a quarter of the length, on training and validation images together.

    Where a solved head is the best, it is solved for again.

    Args:
        run: Finished; its model has the best weights.
        data: Of the run, with validation.
    """
    given = inputs.checked(run.model, inputs.inputs(data.joined()))
    told = run.record.facts["stages"]
    again = dataclasses.replace(
        run,
        given=given,
        plan=[_shortened(run)],
        best=Best(run.model, None, folder=run.folder),
        at=Position(epoch=run.at.epoch, first=run.at.epoch),
        saved=None,
        watch=(),
        chosen={
            "at": run.at.__dict__,
            "epochs": run.history.epoch,
            "history": run.history.history,
            "stages": told,
            "best": run.best.facts(),
        },
    )
    run.record.note(f"the {given.examples} training and validation images together: refit=False leaves this out")
    run.record.facts["stages"] = []
    try:
        if run.pending is not None:
            again.take_up(run.pending)
        history = again.go()
        again.best.finish()
    finally:
        done, run.record.facts["stages"] = run.record.facts["stages"], told
    run.record.update(refit={"examples": given.examples, "stages": done, "history": history.history})


def _shortened(run: Run) -> Stage:
    """The stage in which the best epoch was, a quarter as long."""
    ends = [told["epochs"][1] for told in run.record.facts["stages"]]
    stage = run.plan[next(at for at, end in enumerate(ends) if run.best.epoch <= end)]
    if stage.solve:
        return stage
    length = stage.epochs or -(-stage.steps // run.steps)
    return dataclasses.replace(stage, epochs=-(-length // SHARE), steps=None, early_stopping=None)
