"""One run of a plan: a `fit` for each stage, over one epoch counter, with a state on disk after every epoch."""

import functools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from keras_transfer.graphs import compiling
from keras_transfer.optimizers import schedules
from keras_transfer.training import inputs, recalibration
from keras_transfer.training.cache import policy
from keras_transfer.training.methods import Trainee
from keras_transfer.training.rates import search
from keras_transfer.training.run import criteria, executions, facts, state
from keras_transfer.training.run.averages import Averages
from keras_transfer.training.run.best import Best
from keras_transfer.training.run.clock import Clock, TimeLimit, pace_of
from keras_transfer.training.run.history import History
from keras_transfer.training.run.insight import Insight
from keras_transfer.training.run.progress import (
    EpochNumber,
    Helping,
    Patience,
    StepLimit,
    WholeModel,
)
from keras_transfer.training.run.record import plain
from keras_transfer.training.stages import Stage

__all__ = ["Position", "Run"]


@dataclass
class Position:
    """How far a run is."""

    stage: int = 0
    """The stage that runs, from 0."""
    epoch: int = 0
    """The next epoch, over all stages."""
    first: int = 0
    """The first epoch of the stage that runs."""
    is_stopped: bool = False
    """Whether the stage that runs was stopped early."""
    rate: float | None = None
    """The rate that `learning_rate="auto"` found for the stage that runs."""


@dataclass
class Run:
    """Trains the stages of a plan one after the other.

    Attributes:
        model: The user's model.
        data: What it trains on.
        plan: The stages.
        best: Keeps the best weights.
        keeper: Keeps the outputs of frozen layers.
        note: Prints and records a line.
        start: The weights when the run began, by path.
        watch: What to measure by block after every epoch.
        callbacks: The user's.
        checkpoint: Writes the state, or None.
        on_stage_end: Called with the run after every stage.
        clock: Of the call.
        verbose: As in `fit`.
        at: Where to begin.

    After and while it trains, `history` has all epochs, `stages` what to record of each finished stage, and `insight`
    what was watched, a dict an epoch.
    """

    model: keras.Model
    data: inputs.Inputs
    plan: Sequence[Stage]
    best: Best
    keeper: policy.Keeper
    note: Callable[[str], None]
    start: Mapping[str, np.ndarray]
    watch: Sequence[str] = ()
    callbacks: Sequence[keras.callbacks.Callback] = ()
    checkpoint: state.Checkpoint | None = None
    on_stage_end: Callable[["Run"], None] = lambda run: None
    clock: Clock = field(default_factory=lambda: Clock(None))
    verbose: str | int = "auto"
    at: Position = field(default_factory=Position)

    def __post_init__(self) -> None:
        self.stages: list[dict] = []
        self.insight: list[dict] = []
        self._resumed: state.Saved | None = None
        self._epoch_number = EpochNumber([*self.data.passes, self.keeper.passes])
        self._blocks = Insight(self.model, self.start, self.watch) if self.watch else None
        self.history = History()
        self.history.set_model(self.model)
        self.history.epoch, self.history.history = [], {}

    @functools.cached_property
    def steps(self) -> int:
        """Batches in an epoch; counted where the data set does not know."""
        return self.data.steps

    @functools.cached_property
    def first_batch(self) -> tuple:
        """The first training batch, kept because a plain dataset may reshuffle."""
        dataset = self.data.plain if self.data.sample is None else self.data.sample
        return next(iter(dataset.take(1)))

    def resume(self, saved: state.Saved) -> None:
        """Prepares to go on from a state."""
        self._resumed = saved
        self.at = Position(**saved.facts["at"])
        self.history.epoch = saved.facts["epochs"]
        for name, values in saved.facts["history"].items():
            self.history.history[name] = [math.nan if each is None else each for each in values]
        self.stages, self.insight = saved.facts["stages"], saved.facts["insight"]
        self.best.resume(saved.facts["best"])

    def train(self) -> None:
        """Trains all stages that are still to train."""
        while self.at.stage < len(self.plan):
            stage = self.plan[self.at.stage]
            trained = stage.apply(self.model)

            started = time.perf_counter()
            replaces_fit = stage.applied_method.replaces_fit
            about = self._solve(stage) if replaces_fit else self._fit(stage, trained)
            about["seconds"] = round(time.perf_counter() - started, 3)

            self.stages.append(plain(about))
            self.on_stage_end(self)
            self.keeper.finish(self.at.stage)
            self.at = Position(stage=self.at.stage + 1, epoch=self.at.epoch, first=self.at.epoch)

    def _solve(self, stage: Stage) -> dict:
        """Lets the method of the stage change the model, which is no epoch, and returns what to record."""
        self._epoch_number.on_epoch_begin(self.at.epoch)
        method = stage.applied_method
        cached = self.keeper.heads(self.at.stage)
        solved = method.solve(self.model, self.data, cached=cached)
        self.note(f"{self._stage_of(stage)}: {method.describe(solved)}")

        measured = self._measure("After that", epoch=None)
        return {"name": stage.title, "solved": solved, "measured": measured}

    def _fit(self, stage: Stage, trained: list[str]) -> dict:
        """Trains a stage by `fit`, from its start or from the state, and returns what to record."""
        if self._blocks is not None:
            self._blocks.new_stage()
        reference = self.start or None
        with stage.applied_method.attach(self.model, reference=reference) as trainee:
            if stage.learning_rate == "auto" and self.at.rate is None:
                self.at.rate = self._find_rate(trainee.model, stage)
            optimizer = stage.new_optimizer(
                trainee.model,
                per_epoch=self.steps,
                rate=self.at.rate,
                is_paced=self.clock.limit is not None,
            )
            together = executions.choose(trainee.model, self.callbacks, steps=stage.steps)
            if self.clock.limit is None and self.at.rate is None:
                optimizer = self.keeper.traced_optimizer(
                    self.at.stage, trainee.model, optimizer, together
                )
            paced = pace_of(optimizer)
            compiling.recompile(trainee.model, optimizer)

            about = facts.of_stage(
                self.model,
                stage,
                trained,
                first=self.at.first,
                rate=self.at.rate,
                per_epoch=self.steps,
            )
            self.note(f"{self._stage_of(stage)}: {facts.headline(stage, about)}")

            patience = self._patience(stage)
            if self._resumed is not None:
                state.restore(trainee.model, self._resumed)
                patience.resume(self._resumed.facts["patience"])
                trainee.settle()
                self._resumed = None
            self._run_epochs(stage, trainee, patience, paced, together)
            trainee.settle()
            if isinstance(patience, Helping) and patience.stopped_epoch:
                self._tell_stop(stage, patience)

        if stage.batch_norm == "recalibrate":
            self._epoch_number.on_epoch_begin(self.at.epoch)
            recalibration.recalibrate(self.model, self.data.plain)
            last = max(self.at.epoch - 1, 0)
            self._measure("With batch-norm statistics estimated again", epoch=last)
        return about | {"epochs": [self.at.first, self.at.epoch - 1]}

    def _run_epochs(
        self,
        stage: Stage,
        trainee: Trainee,
        patience: Patience,
        paced: schedules.Paced | None,
        together: int,
    ) -> None:
        """Calls `fit` for the epochs of a stage, on the upper part of the model where frozen outputs are cached."""
        lent = self.keeper.lend(self.at.stage, trainee.model)
        # What a BackupAndRestore left in the model would beat `initial_epoch`.
        if hasattr(lent.model, "_initial_epoch"):
            lent.model._initial_epoch = None

        last = self.at.first + stage.total_epochs(self.steps)
        averages = Averages()
        is_exact = lent.model is trainee.model
        whole = WholeModel(self.callbacks, trainee.model)
        limit = self._limit_time(stage, paced, lent.validation)
        callbacks = [
            self._epoch_number,
            averages,
            StepLimit(stage.steps),
            *limit,
            criteria.JointError(self.model),
            _KeepBest(
                self.best,
                trainee,
                averages,
                stage=self.at.stage,
                is_exact=is_exact,
                fallen_at=last - 1 if stage.is_falling else None,
                limit=limit,
            ),
            whole.begin,
            *self.callbacks,
            whole.end,
            patience,
            _EndEpoch(self, trainee.model, patience),
        ]
        if together != trainee.model.steps_per_execution:
            self.note(
                f"steps_per_execution={together} chosen: the accelerator waits less for Python."
            )
        lent.model.steps_per_execution = together
        lent.model.fit(
            lent.train,
            validation_data=lent.validation,
            initial_epoch=self.at.epoch,
            epochs=self.at.epoch if self.at.is_stopped else last,
            callbacks=callbacks,
            shuffle=False,  # data sets shuffle themselves
            verbose=self.verbose,
        )

    def _limit_time(
        self, stage: Stage, paced: schedules.Paced | None, validation: Any
    ) -> list[TimeLimit]:
        """Returns what ends the stage in time; nothing where there is no limit."""
        if self.clock.limit is None:
            return []
        later = self.plan[self.at.stage + 1 :]
        batches = 0 if validation is None else max(int(validation.cardinality()), 0)
        limit = TimeLimit(
            self.clock,
            paced,
            steps=stage.total_steps(self.steps),
            later=sum(each.total_steps(self.steps) for each in later),
            per_epoch=self.steps,
            validation=batches,
            note=self.note,
        )
        return [limit]

    def _stage_of(self, stage: Stage) -> str:
        return f"Stage {self.at.stage + 1} of {len(self.plan)} ({stage.title})"

    def _patience(self, stage: Stage) -> Patience:
        """The early stopping of a stage."""
        options = stage.stopping()
        if stage.early_stopping == "auto" and self.data.validation is not None:
            return self._wait_for_help(stage)
        if options is None:
            return Patience(None)
        options = {"monitor": self.best.monitor or "val_loss", **options}
        monitor = options["monitor"]
        if monitor.startswith("val_") and self.data.validation is None:
            self.note(f"No early stopping: there is no validation data to measure {monitor} on.")
            return Patience(None)
        mode = "max" if criteria.is_share(monitor) else "min"
        return Patience(**{"mode": mode, **options})

    def _wait_for_help(self, stage: Stage) -> Patience:
        """The early stopping of a stage with `early_stopping="auto"`."""
        epochs = stage.total_epochs(self.steps)
        accuracy = self.best.monitor if criteria.is_share(self.best.monitor or "") else None
        source = self.data.source
        return Helping(
            accuracy,
            patience=max(2, -(-epochs // 4)),
            examples=None if source is None else len(source.examples["validation"]),
        )

    def _tell_stop(self, stage: Stage, patience: Helping) -> None:
        run, planned = self.at.epoch - self.at.first, stage.total_epochs(self.steps)
        if run < planned:
            self.note(
                f"{self._stage_of(stage)} ends after {run} of {planned} epochs: {patience.describe()}."
            )

    def _find_rate(self, model: keras.Model, stage: Stage) -> float:
        """Runs a range test for a stage with `learning_rate="auto"`."""
        compiling.recompile(model, stage.new_optimizer(model, per_epoch=self.steps, rate=1e-3))
        lent = self.keeper.lend(self.at.stage, model)
        self._epoch_number.on_epoch_begin(self.at.first)
        result = search.find_learning_rate(lent.model, lent.train, verbose=0)
        self.note(f"Learning rate {result.suggestion:.2g}: a search over rising rates chose it.")
        return float(result.suggestion)

    def _measure(self, when: str, *, epoch: int | None) -> dict:
        """Measures the model outside `fit`, and keeps its weights if they are the best."""
        if self.data.validation is None:
            return {}
        logs = criteria.evaluate(self.model, self.data.validation)
        shown = ", ".join(f"{name} {value:.4f}" for name, value in logs.items())
        self.note(f"{when}: {shown}.")
        self.best.consider(epoch, logs, stage=self.at.stage, is_exact=True)
        return logs

    def _add_epoch(self, logs: dict) -> None:
        """Adds an epoch to the history, whose lists have an entry for each epoch, NaN where one has no value."""
        curves = self.history.history
        for name in logs:
            curves.setdefault(name, [math.nan] * len(self.history.epoch))
        for name, values in curves.items():
            values.append(float(logs.get(name, math.nan)))
        self.history.epoch.append(self.at.epoch)

    def finish_epoch(
        self, model: keras.Model, logs: dict | None, patience: Patience, *, is_stopped: bool
    ) -> None:
        """Adds an epoch to what is known of the run, and writes the state.

        Args:
            model: What the stage trains.
            logs: Of the epoch.
            patience: Of the stage.
            is_stopped: Whether it was the last epoch of the stage because a callback said so.
        """
        self._add_epoch(logs or {})
        if self._blocks is not None:
            batch = self.first_batch if "gradient" in self.watch else None
            measured = self._blocks.measure(batch)
            self.insight.append(plain({"epoch": self.at.epoch, "stage": self.at.stage, **measured}))
        self.at.epoch += 1
        self.at.is_stopped = is_stopped
        if self.checkpoint is not None:
            self.checkpoint.write(model, {**self.facts(), "patience": patience.facts()})

    def facts(self) -> dict:
        """What has to survive a kill, beside variables and patience."""
        return {
            "at": self.at.__dict__,
            "epochs": self.history.epoch,
            "history": self.history.history,
            "stages": self.stages,
            "insight": self.insight,
            "best": self.best.facts(),
            "spent": self.clock.spent,
        }


class _KeepBest(keras.callbacks.Callback):
    """Offers the weights of an epoch, the averages where there are any, as the best ones.

    Args:
        best: Keeps them.
        trainee: What the stage trains.
        averages: Of the weights.
        stage: The number of the stage.
        is_exact: As for `Best.consider`.
        fallen_at: The last epoch, where the rate falls; otherwise None.
        limit: What may end the stage early with its rate at its end.
    """

    def __init__(
        self,
        best: Best,
        trainee: Trainee,
        averages: Averages,
        *,
        stage: int,
        is_exact: bool,
        fallen_at: int | None,
        limit: Sequence[TimeLimit] = (),
    ) -> None:
        super().__init__()
        self.best, self.trainee, self.averages = best, trainee, averages
        self.limit = limit
        self.stage, self.is_exact, self.fallen_at = stage, is_exact, fallen_at

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Keeps the weights if this epoch is the best so far."""
        has_fallen = epoch == self.fallen_at or any(each.has_fallen for each in self.limit)
        with self.averages.in_model():
            self.trainee.settle()
            self.best.consider(
                epoch,
                logs or {},
                stage=self.stage,
                is_exact=self.is_exact,
                has_fallen=has_fallen,
            )
        self.trainee.settle()


class _EndEpoch(keras.callbacks.Callback):
    """The last callback: when everything that an epoch changes has changed."""

    def __init__(self, run: Run, trained: keras.Model, patience: Patience) -> None:
        super().__init__()
        self.run, self.trained, self.patience = run, trained, patience

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Adds the epoch to the run."""
        is_stopped = bool(self.model.stop_training)
        self.run.finish_epoch(self.trained, logs, self.patience, is_stopped=is_stopped)
