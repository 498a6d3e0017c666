"""Using the validation images twice: to choose how far to go, then to train."""

import dataclasses
import math

from keras_transfer.core import checks, paths
from keras_transfer.training import augmenting, inputs
from keras_transfer.training.best import Best
from keras_transfer.training.run import Position, Run
from keras_transfer.training.stages import Stage

__all__ = ["refit", "wanted"]

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
    """Runs the stages again from where the run began, on training and validation images together.

    As far as validation says: up to the stage that was best, or a later one that is not worse by more than chance.

    Args:
        run: Finished; its model has the best weights.
        data: Of the run, with validation.
    """
    given = inputs.checked(run.model, inputs.inputs(data.joined()))
    given = augmenting.applied(run.given.changes, run.model, given, seed=run.seed)
    told = run.record.facts["stages"]
    plan = _as_far(run, len(data.examples["validation"]))
    again = dataclasses.replace(
        run,
        given=given,
        plan=plan,
        keeper=dataclasses.replace(run.keeper, given=given, plan=plan),
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
    run.record.note(
        f"again from the start on the {given.examples} training and validation images together, "
        f"{len(plan)} of {len(run.plan)} stages: refit=False leaves this out"
    )
    run.record.facts["stages"] = []
    for path, variable in paths.variables(run.model).items():
        variable.assign(run.start[path])
    try:
        if run.pending is not None:
            again.take_up(run.pending)
        history = again.go()
        again.best.finish()
    except BaseException:
        run.best.finish()  # what validation chose
        raise
    finally:
        done, run.record.facts["stages"] = run.record.facts["stages"], told
    run.record.update(refit={"examples": given.examples, "stages": done, "history": history.history})


def _as_far(run: Run, examples: int) -> list[Stage]:
    """The stages to run again."""
    ends = [told["epochs"][1] for told in run.record.facts["stages"]]
    values = dict(zip(run.history.epoch, run.history.history[run.best.monitor], strict=True))
    best = next(at for at, end in enumerate(ends) if run.best.epoch <= end)
    last = best
    if "accuracy" in run.best.monitor:
        share = values[run.best.epoch]
        chance = math.sqrt(share * (1.0 - share) / examples)  # the standard error
        last = max(at for at, end in enumerate(ends) if values[end] >= share - chance or at == best)
    stage = run.plan[last]
    if last > best or stage.solve or stage.is_falling:
        return list(run.plan[: last + 1])
    # At an even rate the best epoch is as good a place to stop as any other.
    first = ends[last - 1] + 1 if last else 0
    shortened = dataclasses.replace(stage, epochs=run.best.epoch - first + 1, steps=None, early_stopping=None)
    return [*run.plan[:last], shortened]
