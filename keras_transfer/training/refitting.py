"""Using the validation images twice: to choose the best epoch, then to train."""

import dataclasses

from keras_transfer.core import checks
from keras_transfer.training import augmenting, inputs
from keras_transfer.training.best import Best
from keras_transfer.training.run import Position, Run
from keras_transfer.training.stages import Stage

__all__ = ["refit", "wanted"]

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


def refit(run: Run, data: object) -> None:
    """Goes on from the best weights for a quarter of the length, on training and validation images together.

    Where a solved head is the best, it is solved for again.

    Args:
        run: Finished; its model has the best weights.
        data: Of the run, with validation.
    """
    given = inputs.checked(run.model, inputs.inputs(data.joined()))
    given = augmenting.applied(run.given.changes, run.model, given, seed=run.seed)
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
