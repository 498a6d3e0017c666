"""What can be wrong with a plan, found before anything trains."""

from collections.abc import Sequence

import keras

from keras_transfer.core import checks
from keras_transfer.graphs import paths
from keras_transfer.training import freezing
from keras_transfer.training.stages import Stage

__all__ = ["check_plan"]


def check_plan(
    model: keras.Model, plan: Sequence[Stage], *, argument: str = "train", one_example: bool = False
) -> None:
    """Raises an error if a stage is none, trains nothing or cannot work; the model is left as it was.

    Args:
        model: The model to train.
        plan: The stages.
        argument: The name of the user's argument, for the error.
        one_example: Whether batches hold one example each.
    """
    if (
        not isinstance(plan, list | tuple)
        or not plan
        or not all(isinstance(stage, Stage) for stage in plan)
    ):
        raise checks.error("`stages` must be a list of kt.Stage", given=repr(plan))
    leaves = paths.leaves(model)
    with freezing.as_before(model):
        for number, stage in enumerate(plan, 1):
            if not any(leaves[path].weights for path in stage.pick(model, argument=argument)):
                given = f"{stage.title!r}, which has no weights"
                raise checks.error(f"stage {number} must train something", given=given)
            if stage.batch_norm != "inference" and one_example:
                raise checks.error(
                    "batches must hold more than one example where batch normalisation is estimated",
                    given=f"batch size 1 with batch_norm={stage.batch_norm!r}",
                    fix="Raise batch_size, or use batch_norm='inference'.",
                )
            _try(model, stage, number)


def _try(model: keras.Model, stage: Stage, number: int) -> None:
    """Goes through what the stage will do to the model before its first step."""
    if not stage.apply(model):
        given = f"{stage.title!r}, of which batch_norm={stage.batch_norm!r} leaves nothing"
        raise checks.error(f"stage {number} must train something", given=given)
    method = stage.applied_method
    method.check(model)
    if not method.replaces_fit and not method.adds_variables:
        rate = 1e-3 if stage.learning_rate == "auto" else None
        stage.new_optimizer(model, per_epoch=1, rate=rate)
