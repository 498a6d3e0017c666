"""A limit on the time of a call: stages get shorter so that they fit, and training stops in time."""

import time
from collections.abc import Callable
from typing import Any

import keras

from keras_transfer.core import checks
from keras_transfer.machine import engine
from keras_transfer.optimizers import schedules
from keras_transfer.training import inputs

__all__ = ["Clock", "TimeLimit", "pace_of", "without_pace"]

EVERY = 5  # batches between two looks at the clock that change the pace
FIRST = 3  # batches before the first of them: the first one also pays for tracing


class Clock:
    """Tells how much of a call's time is left; without a limit there is always enough.

    Args:
        limit: Seconds from now on, or None.

    Example:
        >>> Clock(None).left
        inf
    """

    def __init__(self, limit: float | None) -> None:
        self.limit = None if limit is None else checks.number(limit, name="time_limit", above=0)
        self.before = 0.0
        """Seconds of the same run before it was killed."""
        self.batch_seconds = 0.0
        """Of the forward pass of a batch, at the least."""
        self.growth: float | None = None
        """How much longer a second run on all images takes than the first; None where there is none to come."""
        self._begin = time.monotonic()

    @property
    def spent(self) -> float:
        """Seconds that are gone."""
        return self.before + time.monotonic() - self._begin

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return float("inf") if self.limit is None else self.limit - self.spent

    def check(self, model: keras.Model, data: inputs.Inputs) -> None:
        """Raises an error if one pass over the images cannot be made in time, by what two batches take.

        Args:
            model: Not changed; its forward pass is what every plan makes at least once an image.
            data: To train on.
        """
        if self.limit is None:
            return
        seconds = []
        dataset = data.plain if data.sample is None else data.sample
        for batch in dataset.take(2):
            for _ in range(2):  # the first time pays for tracing
                begin = time.monotonic()
                engine.predict_on_batch(model, batch[0])
                seconds.append(time.monotonic() - begin)
        self.batch_seconds = min(seconds, default=0.0)
        needed = self.batch_seconds * data.steps
        if needed > self.limit:
            raise checks.error(
                "`time_limit` must be enough for one pass over the training images, "
                f"about {needed:.3g} s",
                given=f"{self.limit:g} s",
                fix="Use a smaller backbone, smaller images or fewer of them.",
            )


class TimeLimit(keras.callbacks.Callback):
    """Ends a stage in time; a rate that falls is at its end then, because the schedule runs faster.

    Args:
        clock: Of the call.
        paced: The schedule of the stage, where its rate changes.
        steps: Of the stage, as planned.
        later: Steps of the stages after it.
        per_epoch: Steps in an epoch.
        validation: Batches of validation data.
        note: Prints and records a line.

    Attributes:
        has_fallen: Whether the stage ended early with its rate at its end.
    """

    def __init__(
        self,
        clock: Clock,
        paced: schedules.Paced | None,
        *,
        steps: int,
        later: int,
        per_epoch: int,
        validation: int,
        note: Callable[[str], object],
    ) -> None:
        super().__init__()
        self.clock, self.paced, self.note = clock, paced, note
        self.total, self.later, self.per_epoch = steps, later, per_epoch
        self.has_fallen = False
        self._validation = clock.batch_seconds * validation
        self._began: dict[str, float] = {}
        self._timed, self._seconds = 0, 0.0
        self._seen = 0
        self._step = 0
        self._is_short = False
        self._place = (
            0.0,
            0.0,
            1.0,
        )  # a step, how far the stage was then, how far it goes in a step

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Looks where the stage goes on."""
        self._step = self._iterations()
        done = self._step if self.paced is None else self.paced.position(self._step)
        self._place = (self._step, done, 1.0)

    def on_test_begin(self, logs: dict | None = None) -> None:
        """Begins to time the validation."""
        self._began["test"] = time.monotonic()

    def on_test_end(self, logs: dict | None = None) -> None:
        """Notes how long the validation took."""
        self._validation = time.monotonic() - self._began["test"]

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Begins to time the batches."""
        self._began["batch"] = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Chooses the pace, and ends the stage when it has to."""
        engine.synchronise(self.model)
        now, step = time.monotonic(), self._iterations()
        self._seen += 1
        if self._seen > 1:
            self._timed += step - self._step
            self._seconds += now - self._began["batch"]
        self._began["batch"], self._step = now, step

        if self._seen >= FIRST and self._seen % EVERY == FIRST % EVERY:
            self._choose_pace()
        if self._is_short and self._position() >= self.total - 0.5:
            self.has_fallen = self.paced is not None
            self.model.stop_training = True
        elif self._time_of_stage() <= self._step_seconds():
            self._tell()
            self.model.stop_training = True

    def _iterations(self) -> int:
        return int(keras.ops.convert_to_numpy(self.model.optimizer.iterations))

    def _step_seconds(self) -> float:
        return self._seconds / self._timed if self._timed else self.clock.batch_seconds

    def _time_of_stage(self) -> float:
        """Returns how many seconds of training the stage has left.

        The validation of its last epoch and that of the calibration come after them.
        """
        left = self.clock.left - 2 * self._validation
        if self.clock.growth is not None:
            left /= 1 + self.clock.growth
        remaining = max(self.total - self._position(), 1.0)
        return left * remaining / (remaining + self.later)

    def _position(self) -> float:
        """Returns how many of the planned steps were made, each as often as the pace says."""
        begin, done, pace = self._place
        return done + (self._step - begin) * pace

    def _choose_pace(self) -> None:
        """Sets how fast the schedule runs, so that it ends when the time does."""
        cost = self._step_seconds() + self._validation / self.per_epoch
        remaining = self.total - self._position()
        growth, time_left = self.clock.growth, self.clock.left - 2 * self._validation
        if growth is not None and cost * (remaining + self.later) * (1 + growth) > time_left:
            self.clock.growth = None
            self.note(
                "No second run on training and validation images together (refit): "
                "`time_limit` is too short for it."
            )
        possible = max(self._time_of_stage() / max(cost, 1e-9), 1.0)
        if possible < remaining:
            self._tell()
        pace = max(1.0, remaining / possible)
        self._place = (self._step, self._position(), pace)
        if self.paced is not None:
            self.paced.go(self._step, pace)

    def _tell(self) -> None:
        if not self._is_short:
            self._is_short = True
            self.note(
                f"This stage is cut short: `time_limit` leaves {max(self.clock.left, 0.0):.0f} s "
                f"and {self.total} steps would take {self.total * self._step_seconds():.0f} s."
            )


def pace_of(optimizer: Any) -> schedules.Paced | None:
    """Returns the schedule of an optimizer whose pace can be changed, and lets the optimizer keep its place.

    Example:
        >>> pace_of(keras.optimizers.SGD(0.1)) is None
        True
    """
    schedule = getattr(optimizer, "_learning_rate", None)
    if not isinstance(schedule, schedules.Paced):
        return None
    optimizer._track_variable(schedule.place)
    return schedule


def without_pace(optimizer: Any) -> Any:
    """Returns an optimizer with the schedule alone, as a saved model has it; None where its pace cannot be changed.

    Example:
        >>> without_pace(keras.optimizers.SGD(0.1)) is None
        True
    """
    inner = getattr(optimizer, "inner_optimizer", None) or optimizer
    schedule = getattr(inner, "_learning_rate", None)
    if not isinstance(schedule, schedules.Paced):
        return None
    config = inner.get_config()
    config["learning_rate"] = keras.saving.serialize_keras_object(schedule.schedule)
    return type(inner).from_config(config)
