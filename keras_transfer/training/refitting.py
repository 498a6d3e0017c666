"""Using the validation images twice: to choose how far to go, then to train."""

import dataclasses
import math

from keras_transfer.core import checks
from keras_transfer.graphs import paths
from keras_transfer.training import augmenting, inputs
from keras_transfer.training.run.best import Best
from keras_transfer.training.run.engine import Position, Run
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
    possible = hasattr(data, "joined") and data.validation is not None and data.is_own
    if asked and not possible:
        fix = "Batches of your own cannot be dealt anew: leave `data.train` as it was made, or use `refit=False`."
        raise checks.error(
            "`refit` needs data from kt.data with a validation part",
            given=type(data).__name__,
            fix=fix,
        )
    if asked is None:
        return bool(is_open and possible and data.test is not None and _size(data) <= MANY)
    return asked


def _size(data: object) -> int:
    return sum(len(data.examples[split]) for split in ("train", "validation"))


def refit(run: Run, data: object) -> None:
    """Runs the stages again from where the run began, on training and validation images together.

    As far as validation says: up to the stage that was best, or a later one that is not worse by more than chance. The
    user's callbacks run again, too; epochs are counted on, and there is no validation any more.

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
    run.record.update(
        refit={
            "examples": given.examples,
            "stages": done,
            "history": history.history,
            "cache": again.keeper.facts,
        }
    )
    run.record.note(f"the model has the weights of the run on all {given.examples} images")


def _as_far(run: Run, examples: int) -> list[Stage]:
    """The stages to run again, each as long as it was; at an even rate the last one up to the best epoch."""
    spans = [told["epochs"] for told in run.record.facts["stages"]]
    best = next(at for at, span in enumerate(spans) if run.best.epoch <= span[1])
    last = best
    if "accuracy" in run.best.monitor:
        values = dict(zip(run.history.epoch, run.history.history[run.best.monitor], strict=True))
        share = -run.best.value[0]
        chance = math.sqrt(share * (1.0 - share) / examples)  # the standard error
        last = max(
            at for at, span in enumerate(spans) if values[span[1]] >= share - chance or at == best
        )
    lengths = [end - first + 1 for first, end in spans[: last + 1]]
    if last == best and not run.plan[last].is_falling:
        lengths[last] = run.best.epoch - spans[last][0] + 1
    return [
        _cut(stage, length, run.steps) for stage, length in zip(run.plan, lengths, strict=False)
    ]


def _cut(stage: Stage, epochs: int, per_epoch: int) -> Stage:
    """The stage without early stopping, for as many epochs as it ran; a falling rate falls in that time."""
    if stage.solve:
        return stage
    if stage.steps is not None:
        return dataclasses.replace(
            stage, steps=min(stage.steps, epochs * per_epoch), early_stopping=None
        )
    return dataclasses.replace(stage, epochs=epochs, early_stopping=None)
