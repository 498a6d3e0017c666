"""A stage of training: what trains, for how long, at which rate; and the default plan."""

import dataclasses
from collections.abc import Sequence

import keras

from keras_transfer import layers
from keras_transfer.core import checks, paths
from keras_transfer.training import freezing

__all__ = ["Stage", "check_plan", "two_stage"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of `kt.fine_tune`.

    Args:
        epochs: How many.
        train: "head", "all", or a pattern: the first block or layer that matches and everything above.
        learning_rate: A rate or a Keras schedule.
        optimizer: Name of a Keras optimizer; each stage gets a new one, with empty slots.
        batch_norm: "inference" keeps the trunk's batch normalisations as pretrained, "train" trains them.
        name: For the record; by default what it trains.

    Example:
        >>> Stage(epochs=5, train="head").learning_rate
        0.001
    """

    epochs: int
    train: str | Sequence[str] = "all"
    learning_rate: float | keras.optimizers.schedules.LearningRateSchedule = 1e-3
    optimizer: str = "adam"
    batch_norm: str = "inference"
    name: str | None = None

    def __post_init__(self) -> None:
        checks.integer(self.epochs, name="epochs")
        if not isinstance(self.learning_rate, keras.optimizers.schedules.LearningRateSchedule):
            object.__setattr__(self, "learning_rate", checks.number(self.learning_rate, name="learning_rate", above=0))
        checks.choice(self.batch_norm, freezing.BATCH_NORM, name="batch_norm")
        if not isinstance(self.optimizer, str):
            raise checks.error("`optimizer` must be the name of a Keras optimizer", given=repr(self.optimizer))
        self.new_optimizer()

    @property
    def title(self) -> str:
        """The name, or what it trains."""
        return self.name or (self.train if isinstance(self.train, str) else ", ".join(self.train))

    def new_optimizer(self) -> keras.optimizers.Optimizer:
        """Returns a fresh optimizer."""
        config = {"class_name": self.optimizer, "config": {"learning_rate": self.learning_rate}}
        try:
            return keras.optimizers.get(config)
        except (ValueError, TypeError) as unknown:
            raise checks.error(
                "`optimizer` must be the name of a Keras optimizer", given=repr(self.optimizer)
            ) from unknown


def two_stage(
    model: keras.Model,
    *,
    examples: int | None,
    epochs: tuple[int, int] | None,
    unfreeze: str | None,
    learning_rate: tuple[float, float] | None,
    batch_norm: str,
) -> tuple[list[Stage], list[str]]:
    """Returns the default plan (the head first, then it and the upper part of the trunk) and what was decided.

    Args:
        model: The model to train.
        examples: Size of the training set if known.
        epochs: Of the two stages, or None to choose.
        unfreeze: What trains in the second stage, or None to choose.
        learning_rate: Of the two stages, or None for the defaults.
        batch_norm: As for `Stage`.
    """
    decided = []
    if epochs is None:
        epochs = _epochs(examples)
        decided.append(f"epochs={epochs} chosen for {examples if examples is not None else 'unknown many'} examples")
    if unfreeze is None:
        unfreeze = _upper_half(model)
        decided.append(f"unfreeze={unfreeze!r} chosen: about the upper half of the blocks trains in stage 2")
    if learning_rate is None:
        learning_rate = (1e-3, 1e-4)
        decided.append(f"learning_rate={learning_rate} chosen")
    pairs = {"epochs": epochs, "learning_rate": learning_rate}
    for name, value in pairs.items():
        if not isinstance(value, list | tuple) or len(value) != 2:
            raise checks.error(f"`{name}` must be a pair, one entry a stage", given=repr(value))
    plan = [
        Stage(epochs=epochs[0], train="head", learning_rate=learning_rate[0], batch_norm=batch_norm),
        Stage(epochs=epochs[1], train=unfreeze, learning_rate=learning_rate[1], batch_norm=batch_norm),
    ]
    return plan, decided


def _epochs(examples: int | None) -> tuple[int, int]:
    """Few examples are seen more often, many less."""
    for least, epochs in ((50_000, (2, 4)), (10_000, (4, 8)), (500, (10, 10))):
        if examples is not None and examples >= least:
            return epochs
    return (20, 20)


def _upper_half(model: keras.Model) -> str:
    """The name of the block in the middle, "all" where there are too few to choose from."""
    names = [block.name for block in layers.blocks(model)]
    return names[len(names) // 2] if layers.representation(model) is not None and len(names) > 3 else "all"


def check_plan(model: keras.Model, plan: Sequence[Stage], *, argument: str = "train") -> None:
    """Raises an error if a stage is none, or trains nothing; the model's flags are left as they were."""
    if not isinstance(plan, list | tuple) or not plan or not all(isinstance(stage, Stage) for stage in plan):
        raise checks.error("`stages` must be a list of kt.Stage", given=repr(plan))
    leaves = paths.leaves(model)
    for number, stage in enumerate(plan, 1):
        chosen = freezing.pick(model, stage.train, argument=argument)
        if not any(leaves[path].weights for path in chosen):
            raise checks.error(f"stage {number} must train something", given=f"{stage.title!r}, which has no weights")
