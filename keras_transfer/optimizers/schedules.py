"""Learning rates over the steps of a training run.

A schedule knows how many steps there are and says the rate of each. Keras's own are used where they are right; what
is ours serialises like them.
"""

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import keras
from keras import ops

from keras_transfer.core import checks, lookup

__all__ = ["SCHEDULES", "OneCycle", "Paced", "Rate", "WarmUp", "describe", "make", "peak"]

Schedule: TypeAlias = keras.optimizers.schedules.LearningRateSchedule
Rate: TypeAlias = float | Schedule


@keras.saving.register_keras_serializable("keras_transfer")
class WarmUp(Schedule):
    """Rises from zero in a straight line over the first steps of another schedule.

    The rise takes the place of the schedule's beginning and does not move the rest of it, so the length stays as it
    was. That is how timm's schedulers warm up; the warm-up of `keras.optimizers.schedules.CosineDecay` comes before the
    decay instead.

    Args:
        schedule: A rate or a schedule.
        steps: Of the rise; it aims at the schedule's highest rate.

    Example:
        >>> [round(float(WarmUp(0.1, steps=4)(step)), 3) for step in range(6)]
        [0.0, 0.025, 0.05, 0.075, 0.1, 0.1]
    """

    def __init__(self, schedule: Rate, *, steps: int) -> None:
        super().__init__()
        self.schedule = schedule
        self.steps = checks.integer(steps, name="steps")
        self.rate = peak(schedule)

    def __call__(self, step: Any) -> Any:
        """The rate of a step, counted from 0."""
        later = self.schedule(step) if callable(self.schedule) else self.schedule
        step = ops.cast(step, "float32")
        return ops.where(step < self.steps, step * (self.rate / self.steps), later)

    def get_config(self) -> dict:
        """Returns what the constructor takes, the schedule as Keras writes it."""
        inner = keras.saving.serialize_keras_object(self.schedule)
        return {"schedule": inner, "steps": self.steps}

    @classmethod
    def from_config(cls, config: dict) -> "WarmUp":
        """Makes the schedule again from its config."""
        return cls(
            **{**config, "schedule": keras.saving.deserialize_keras_object(config["schedule"])}
        )


@keras.saving.register_keras_serializable("keras_transfer")
class OneCycle(Schedule):
    """Rises along a cosine, then falls along one (Smith & Topin 2018, arXiv:1708.07120).

    The defaults are those of fastai's `fit_one_cycle`, whose momentum stays as it is here.

    Args:
        rate: The highest rate.
        steps: Of the whole run; later ones stay at the end.
        rise: Share of the steps until the highest rate.
        div: It begins at `rate / div` ...
        div_final: ... and ends at `rate / div_final`.

    Example:
        >>> cycle = OneCycle(0.1, steps=100)
        >>> [round(float(cycle(step)), 6) for step in (0, 25, 100)]
        [0.004, 0.1, 1e-06]
    """

    def __init__(
        self,
        rate: float,
        *,
        steps: int,
        rise: float = 0.25,
        div: float = 25.0,
        div_final: float = 1e5,
    ) -> None:
        super().__init__()
        self.rate = checks.number(rate, name="rate", above=0)
        self.steps = checks.integer(steps, name="steps")
        self.rise = checks.number(rise, name="rise", above=0, below=1)
        self.div = checks.number(div, name="div", above=0)
        self.div_final = checks.number(div_final, name="div_final", above=0)

    def __call__(self, step: object) -> object:
        """The rate of a step, counted from 0."""
        done = ops.minimum(ops.cast(step, "float32") / self.steps, 1.0)
        up = _cosine(self.rate / self.div, self.rate, done / self.rise)
        down = _cosine(self.rate, self.rate / self.div_final, (done - self.rise) / (1 - self.rise))
        return ops.where(done < self.rise, up, down)

    def get_config(self) -> dict:
        """Returns what the constructor takes."""
        return {name: getattr(self, name) for name in ("rate", "steps", "rise", "div", "div_final")}


@keras.saving.register_keras_serializable("keras_transfer")
class Paced(Schedule):
    """Another schedule whose steps can be made to count more, so that it ends sooner, while it is used.

    Args:
        schedule: The other one.

    Example:
        >>> paced = Paced(keras.optimizers.schedules.PolynomialDecay(1.0, 10, end_learning_rate=0.0))
        >>> paced.go(4, 2.0)  # from step 4 on, twice as fast
        >>> [round(float(paced(step)), 3) for step in (4, 5, 7)]
        [0.6, 0.4, 0.0]
    """

    def __init__(self, schedule: Schedule) -> None:
        super().__init__()
        self.schedule = schedule
        self.rate = peak(schedule)
        # The step at which the pace was set, the other schedule's step then, the pace.
        self.place = keras.Variable([0.0, 0.0, 1.0], trainable=False, name="pace")

    def __call__(self, step: Any) -> Any:
        """The rate of a step, counted from 0."""
        begin, done, pace = self.place[0], self.place[1], self.place[2]
        return self.schedule(done + (ops.cast(step, "float32") - begin) * pace)

    def position(self, step: int) -> float:
        """Returns the step of the other schedule at a step."""
        begin, done, pace = keras.ops.convert_to_numpy(self.place).tolist()
        return done + (step - begin) * pace

    def go(self, step: int, pace: float) -> None:
        """Sets how many steps of the other schedule each step from `step` on is."""
        self.place.assign([float(step), self.position(step), float(pace)])

    def get_config(self) -> dict:
        """Returns what the constructor takes, the schedule as Keras writes it."""
        return {"schedule": keras.saving.serialize_keras_object(self.schedule)}

    @classmethod
    def from_config(cls, config: dict) -> "Paced":
        """Makes the schedule again from its config."""
        return cls(keras.saving.deserialize_keras_object(config["schedule"]))


def _cosine(start: float, end: float, share: Any) -> Any:
    return end + (start - end) * (1 + ops.cos(math.pi * share)) / 2


def _warmed(schedule: Rate, steps: int, warmup: float) -> Rate:
    rising = round(steps * warmup)
    return WarmUp(schedule, steps=rising) if rising else schedule


def _constant(rate: float, steps: int, warmup: float) -> Rate:
    return _warmed(rate, steps, warmup)


def _cosine_decay(rate: float, steps: int, warmup: float) -> Rate:
    return _warmed(keras.optimizers.schedules.CosineDecay(rate, steps), steps, warmup)


def _one_cycle(rate: float, steps: int, warmup: float) -> Rate:
    return OneCycle(rate, steps=steps, rise=warmup) if warmup else OneCycle(rate, steps=steps)


def _polynomial(rate: float, steps: int, warmup: float) -> Rate:
    line = keras.optimizers.schedules.PolynomialDecay(rate, steps, end_learning_rate=0.0, power=1.0)
    return _warmed(line, steps, warmup)


SCHEDULES: dict[str, Callable[[float, int, float], Rate]] = {
    "constant": _constant,
    "cosine": _cosine_decay,
    "one_cycle": _one_cycle,
    "polynomial": _polynomial,
}


def make(name: str, rate: float, *, steps: int, warmup: float = 0.0) -> Rate:
    """Makes a schedule by its name.

    Args:
        name: "constant"; "cosine", down to zero, as timm's `CosineLRScheduler`; "one_cycle", as fastai's
            `fit_one_cycle`; "polynomial", down to zero in a straight line.
        rate: The highest rate.
        steps: Of the whole run: steps of an epoch times epochs.
        warmup: Share of the steps in which the rate rises: from zero in a straight line, or as `OneCycle` does (0 is
            its default then).

    Returns:
        A schedule, or `rate` itself where it is constant.

    Raises:
        InputError: If the name is unknown or a number is out of range.

    Example:
        >>> schedule = make("cosine", 0.1, steps=100, warmup=0.1)
        >>> [round(float(schedule(step)), 3) for step in (0, 5, 50, 100)]
        [0.0, 0.05, 0.05, 0.0]
    """
    maker = lookup.find(name, SCHEDULES, argument="schedule")
    rate = checks.number(rate, name="rate", above=0)
    return maker(rate, checks.integer(steps, name="steps"), checks.share(warmup, name="warmup"))


def peak(rate: Rate) -> float:
    """Returns the highest rate of a schedule: what rates of single layers are shares of.

    Raises:
        InputError: If the schedule does not say it.

    Example:
        >>> peak(make("one_cycle", 0.1, steps=10)), peak(0.2)
        (0.1, 0.2)
    """
    if not isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
        return checks.number(rate, name="learning_rate", above=0)
    if isinstance(rate, WarmUp | OneCycle | Paced):
        return rate.rate
    highest = getattr(rate, "warmup_target", None)
    highest = getattr(rate, "initial_learning_rate", None) if highest is None else highest
    if highest is None:
        raise checks.error(
            "`learning_rate` must be a number, or a schedule that says its highest rate",
            given=type(rate).__name__,
            fix=f"Use one of {', '.join(map(repr, SCHEDULES))}.",
        )
    return float(highest)


def describe(rate: Rate) -> str:
    """Says in a few words how a rate changes.

    Example:
        >>> describe(make("cosine", 0.003, steps=200, warmup=0.1))
        'cosine from 0.003 over 200 steps after a rise over the first 20 steps'
        >>> describe(0.003)
        '0.003'
    """
    if not isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
        return f"{rate:g}"
    if isinstance(rate, Paced):
        return describe(rate.schedule)
    if isinstance(rate, WarmUp):
        return f"{describe(rate.schedule)} after a rise over the first {rate.steps} steps"
    if isinstance(rate, OneCycle):
        return f"one cycle up to {rate.rate:g} over {rate.steps} steps"
    if isinstance(rate, keras.optimizers.schedules.CosineDecay):
        rise = f" after a rise over {rate.warmup_steps} steps" if rate.warmup_target else ""
        return f"cosine from {peak(rate):g} over {rate.decay_steps} steps{rise}"
    if isinstance(rate, keras.optimizers.schedules.PolynomialDecay) and rate.power == 1:
        end = f" to {rate.end_learning_rate:g}" if rate.end_learning_rate else ""
        return f"straight line from {peak(rate):g}{end} over {rate.decay_steps} steps"
    return f"{type(rate).__name__}, a schedule"
