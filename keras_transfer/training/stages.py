"""A stage of training: what trains, for how long, at which rates, with which precautions."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras.optimizers.schedules import LearningRateSchedule as Schedule

from keras_transfer.core import checks, lookup
from keras_transfer.graphs import compiling
from keras_transfer.optimizers import schedules
from keras_transfer.training import freezing, methods
from keras_transfer.training.rates import layer_rates

__all__ = ["Stage"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of `kt.fine_tune`.

    Args:
        epochs: How many passes over the data; or `steps`.
        steps: How many steps instead; the stage ends within an epoch.
        train: "head", "all", a pattern (the first block or layer that matches, and everything above), or
            a number: the head and that many of the uppermost blocks.
        only: Patterns of the blocks and layers that train, and nothing else, instead of `train`;
            "norms_and_biases" for these of the trunk, beside the head.
        learning_rate: A rate; a rate by pattern (`{"head": 1e-3, "block_13*": 1e-4}`: the first that fits a
            layer counts, the rest trains at the highest); a Keras schedule; or "auto" for a range test.
        optimizer: Name of a Keras optimizer; each stage gets a new one, with empty slots.
        decay: Layer-wise decay: the rate of a block is `decay` times that of the block above it.
        schedule: "constant", "cosine", "one_cycle" or "polynomial", over the whole stage.
        warmup: Share of the steps in which the rate rises from 0.
        weight_decay: Of all weights but norms and biases, in units of the rate; None for the optimizer's own.
        batch_norm: "inference" keeps the trunk's batch normalisations as pretrained, "train" trains
            them, "synchronized" does so on the statistics of all replicas of a strategy together, "recalibrate"
            estimates their statistics again when the stage has ended.
        clip_norm: Largest norm of all gradients together.
        ema: Momentum of the weights' moving average, which is measured and kept in their place.
        early_stopping: Epochs without improvement after which the stage ends, or
            `{"monitor": "val_loss", "patience": 3}`. "auto" ends it when, for a quarter of its epochs, the validation
            loss has not fallen and the validation accuracy has not risen by more than its standard error.
        method: What changes a training step or replaces it: a name of `kt.training.METHODS` or an object of that kind;
            plain training by default. The next three are short for the usual ones.
        solve: `SolvedHead()`: a linear head is fitted on the frozen features by regression, in no epochs.
        lora: `LowRank(rank)`: low-rank updates train instead of the kernels and are merged into them.
        regulariser: A `Regulariser`, which keeps the weights or features near the pretrained ones.
        name: For the record; by default what it trains.

    Example:
        >>> Stage(epochs=5, train="head").learning_rate
        0.001
    """

    epochs: int | None = None
    steps: int | None = None
    train: str | int | Sequence[str] = "all"
    only: str | Sequence[str] | None = None
    learning_rate: float | str | Mapping[str, float] | Schedule = 1e-3
    optimizer: str = "adam"
    decay: float = 1.0
    schedule: str = "constant"
    warmup: float = 0.0
    weight_decay: float | None = None
    batch_norm: str = "inference"
    clip_norm: float | None = None
    ema: float | None = None
    early_stopping: int | str | Mapping | None = None
    method: str | methods.Method | None = None
    solve: bool = False
    lora: int | None = None
    regulariser: Any = None
    name: str | None = None

    def __post_init__(self) -> None:
        self._check_length()
        self._check_rate()
        checks.choice(self.batch_norm, freezing.BATCH_NORM, name="batch_norm")
        checks.choice(self.schedule, schedules.SCHEDULES, name="schedule")
        checks.share(self.warmup, name="warmup")
        if checks.number(self.decay, name="decay", above=0) > 1:
            raise checks.error("`decay` must be at most 1", given=self.decay)
        if self.weight_decay is not None:
            checks.number(self.weight_decay, name="weight_decay", minimum=0)
        if self.clip_norm is not None:
            checks.number(self.clip_norm, name="clip_norm", above=0)
        if self.ema is not None:
            checks.number(self.ema, name="ema", above=0, below=1)
        if isinstance(self.train, int):
            checks.integer(self.train, name="train")
        self.stopping()
        if not isinstance(self.optimizer, str):
            raise checks.error(
                "`optimizer` must be the name of a Keras optimizer", given=repr(self.optimizer)
            )
        self._keras_optimizer(1e-3)

    def _check_length(self) -> None:
        name = "epochs" if self.steps is None else "steps"
        if self.applied_method.replaces_fit:
            if self.epochs or self.steps:
                raise checks.error(
                    f"`{name}` must be left out for a method that replaces `fit`",
                    given=f"{getattr(self, name)} with {self.applied_method!r}",
                )
            return
        if (self.epochs is None) == (self.steps is None):
            given = (
                "neither" if self.epochs is None else f"epochs={self.epochs}, steps={self.steps}"
            )
            raise checks.error("a stage must have either `epochs` or `steps`", given=given)
        checks.integer(getattr(self, name), name=name)

    def _check_rate(self) -> None:
        rate = self.learning_rate
        if isinstance(rate, Mapping):
            if not rate:
                raise checks.error(
                    "`learning_rate` must have a rate for some pattern", given=repr(rate)
                )
            for value in rate.values():
                checks.number(value, name="learning_rate", above=0)
        elif not isinstance(rate, Schedule) and rate != "auto":
            object.__setattr__(
                self, "learning_rate", checks.number(rate, name="learning_rate", above=0)
            )
        if isinstance(rate, Schedule) and (self.schedule != "constant" or self.warmup):
            raise checks.error(
                "`schedule` must be left out where `learning_rate` is one",
                given=repr(self.schedule),
            )

    def __repr__(self) -> str:
        """Shows what differs from the defaults, a schedule in words."""
        changed = []
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value != field.default:
                text = schedules.describe(value) if isinstance(value, Schedule) else repr(value)
                changed.append(f"{field.name}={text}")
        return f"Stage({', '.join(changed)})"

    @functools.cached_property
    def applied_method(self) -> methods.Method:
        """The method that trains the stage, however it was asked for."""
        asked = []
        if self.method is not None:
            asked.append(self.method)
        if self.solve:
            asked.append(methods.SolvedHead())
        if self.lora is not None:
            asked.append(methods.LowRank(self.lora))
        if self.regulariser is not None:
            asked.append(self.regulariser)
        if len(asked) > 1:
            raise checks.error(
                "a stage must have one of `method`, `solve`, `lora` and `regulariser`",
                given=" and ".join(map(repr, asked)),
                fix="Make a stage of each.",
            )

        method = asked[0] if asked else methods.Method()
        if isinstance(method, str):
            method = lookup.find(method, methods.METHODS, argument="method")()
        if not isinstance(method, methods.Method):
            name = "method" if self.regulariser is None else "regulariser"
            raise checks.error(f"`{name}` must be of kt.training.METHODS", given=repr(method))
        return method

    @property
    def title(self) -> str:
        """The name, or what it trains."""
        what = self.train if self.only is None else self.only
        if isinstance(what, int):
            return self.name or f"last {what} blocks"
        return self.name or (what if isinstance(what, str) else ", ".join(what))

    @property
    def is_falling(self) -> bool:
        """Whether the rate falls towards the end, so that an earlier epoch is not worth less than the last."""
        return self.schedule != "constant" or isinstance(self.learning_rate, Schedule)

    def stopping(self) -> dict | None:
        """Returns the options of early stopping, patience among them; None without it, or where it is "auto"."""
        if self.early_stopping in (None, "auto"):
            return None
        options = self.early_stopping
        options = dict(options) if isinstance(options, Mapping) else {"patience": options}
        for key in options:
            checks.choice(key, ("monitor", "patience", "min_delta", "mode"), name="early_stopping")
        checks.choice(options.get("mode", "min"), ("min", "max"), name="early_stopping's mode")
        checks.integer(options.setdefault("patience", 3), name="early_stopping")
        return options

    def pick(self, model: keras.Model, *, argument: str = "train") -> list[str]:
        """Returns the paths of the layers that train, bottom to top; `argument` is the user's, for the error."""
        if self.only is not None:
            return freezing.pick_only(model, self.only)
        return freezing.pick(model, self.train, argument=argument)

    def apply(self, model: keras.Model) -> list[str]:
        """Sets the flags of `model`, and returns the paths of the layers that train."""
        trained = freezing.set_trainable(model, self.pick(model), batch_norm=self.batch_norm)
        if self.only == freezing.NORMS_AND_BIASES:
            freezing.keep_kernels(model)
        return trained

    def total_steps(self, per_epoch: int) -> int:
        """The number of steps, for a schedule."""
        return self.steps or (self.epochs or 0) * per_epoch

    def total_epochs(self, per_epoch: int) -> int:
        """The number of epochs; with `steps`, the last one may end early."""
        return self.epochs or -(-(self.steps or 0) // per_epoch)

    def new_optimizer(
        self,
        model: keras.Model,
        *,
        per_epoch: int,
        rate: float | None = None,
        is_paced: bool = False,
    ) -> keras.optimizers.Optimizer:
        """Returns a fresh optimizer for `model`, whose flags are set.

        Args:
            model: The model to train.
            per_epoch: Steps in an epoch.
            rate: The rate that "auto" found.
            is_paced: Whether the schedule can be made to run faster, for a limit of time.
        """
        with compiling.scope(model):  # of a strategy, where an optimizer belongs from its beginning
            by_pattern = None
            if isinstance(self.learning_rate, Mapping):
                by_pattern = dict(self.learning_rate)
            planned = self.planned_rate(per_epoch=per_epoch, rate=rate)
            if is_paced and isinstance(planned, Schedule):
                planned = schedules.Paced(planned)
            optimizer = self._keras_optimizer(planned)
            if getattr(optimizer, "weight_decay", None):
                kernels = {id(variable) for variable in layer_rates.decayed(model)}
                others = [each for each in model.trainable_variables if id(each) not in kernels]
                optimizer.exclude_from_weight_decay(others)
            return layer_rates.layer_rates(
                optimizer, model, rates=by_pattern, decay=self.decay, argument="learning_rate"
            )

    def planned_rate(self, *, per_epoch: int, rate: float | None = None) -> schedules.Rate:
        """Returns the rate or schedule of the layers that train fastest.

        Args:
            per_epoch: Steps in an epoch.
            rate: The rate that "auto" found.
        """
        highest = self.learning_rate if rate is None else rate
        if isinstance(highest, Mapping):
            highest = max(highest.values())
        if isinstance(highest, Schedule):
            return highest
        steps = self.total_steps(per_epoch)
        return schedules.make(self.schedule, float(highest), steps=steps, warmup=self.warmup)

    def _keras_optimizer(self, rate: object) -> keras.optimizers.Optimizer:
        config = {"learning_rate": rate}
        if self.weight_decay is not None:
            config["weight_decay"] = self.weight_decay
        if self.clip_norm is not None:
            config["global_clipnorm"] = self.clip_norm
        if self.ema is not None:
            config |= {"use_ema": True, "ema_momentum": self.ema}
        try:
            return keras.optimizers.get({"class_name": self.optimizer, "config": config})
        except (ValueError, TypeError) as unknown:
            raise checks.error(
                "`optimizer` must be the name of a Keras optimizer", given=repr(self.optimizer)
            ) from unknown
