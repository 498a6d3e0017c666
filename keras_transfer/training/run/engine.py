"""Running a plan: one `fit` a stage, over one epoch counter, with a state on disk after every epoch."""

import functools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import keras
import numpy as np

from keras_transfer.core import checks
from keras_transfer.graphs import compiling
from keras_transfer.storage import files
from keras_transfer.training import inputs, recalibration
from keras_transfer.training.cache import policy
from keras_transfer.training.methods import solved_head, vehicles
from keras_transfer.training.rates import layer_rates, search
from keras_transfer.training.run import criteria, facts, state
from keras_transfer.training.run.averages import Averages
from keras_transfer.training.run.best import Best
from keras_transfer.training.run.insight import Insight
from keras_transfer.training.run.progress import Limit, Passes, Patience, Seen
from keras_transfer.training.run.record import Record, plain
from keras_transfer.training.stages import Stage

__all__ = ["Run"]


@dataclass
class Position:
    """Where a run is."""

    stage: int = 0
    """The stage that runs, from 0."""
    epoch: int = 0
    """The next epoch, over all stages."""
    first: int = 0
    """The first epoch of the stage that runs."""
    is_stopped: bool = False
    """Whether the stage that runs was stopped early."""
    rate: float | None = None
    """What `learning_rate="auto"` came to in the stage that runs."""


@dataclass
class Run:
    """A plan on its way.

    Attributes:
        model: The user's model.
        given: The data.
        plan: The stages.
        record: Of what happens.
        best: Keeps the best weights.
        keeper: Of what frozen layers give.
        start: The weights when the run began, by path.
        watch: What to measure by block in every epoch.
        callbacks: The user's.
        folder: For the state, or None.
        fingerprint: What a state must have in common with this run.
        seed: Of the run, or None.
        verbose: As in `fit`.
    """

    model: keras.Model
    given: inputs.Inputs
    plan: Sequence[Stage]
    record: Record
    best: Best
    keeper: policy.Keeper
    start: Mapping[str, np.ndarray] = field(default_factory=dict)
    watch: Sequence[str] = ()
    callbacks: Sequence[keras.callbacks.Callback] = ()
    folder: object = None
    fingerprint: dict = field(default_factory=dict)
    seed: int | None = None
    verbose: str | int = "auto"
    at: Position = field(default_factory=Position)
    saved: tuple[dict, dict] | None = None
    """Arrays and facts of the state to go on from."""
    chosen: dict | None = None
    """In a second run, on all data: how the first one ended."""
    pending: tuple[dict, dict] | None = None
    """The state for that second run, where it was killed."""

    def __post_init__(self) -> None:
        self.passes = Passes([*self.given.passes, self.keeper.passes])
        self.insight = Insight(self.model, self.start, self.watch) if self.watch else None
        self.history = keras.callbacks.History()
        self.history.set_model(self.model)
        self.history.epoch, self.history.history = [], {}

    @functools.cached_property
    def steps(self) -> int:
        """Batches in an epoch; counted where the data set does not know."""
        return self.given.steps

    @functools.cached_property
    def first_batch(self) -> tuple:
        """Of the training data; read once, for a plain dataset may shuffle anew whenever it is read."""
        return next(
            iter(
                self.given.plain.take(1) if self.given.sample is None else self.given.sample.take(1)
            )
        )

    def take_up(self, saved: tuple[dict, dict]) -> None:
        """Makes ready to go on from a state."""
        told = saved[1]
        if (
            told["chosen"] is not None and self.chosen is None
        ):  # killed in the second run: the first is over
            told, self.pending = {**told, **told["chosen"]}, saved
        else:
            self.saved = saved
        self.at = Position(**told["at"])
        self.history.epoch, self.history.history = told["epochs"], told["history"]
        self.record.facts["stages"] = told["stages"]
        if self.chosen is None:
            self.record.facts["insight"] = told["insight"]
            self.best.take_up(told["best"])

    def go(self) -> keras.callbacks.History:
        """Runs what is still to do, and returns the history of all."""
        while self.at.stage < len(self.plan):
            stage = self.plan[self.at.stage]
            trained = stage.apply(self.model)
            started = time.perf_counter()
            about = self._solve(stage) if stage.solve else self._fit(stage, trained)
            self.record.facts["stages"].append(
                plain({**about, "seconds": round(time.perf_counter() - started, 3)})
            )
            if self.chosen is None:
                self.record.update(history=self.history.history, cache=self.keeper.facts)
            self.keeper.finished(self.at.stage)
            self.at = Position(stage=self.at.stage + 1, epoch=self.at.epoch, first=self.at.epoch)
        return self.history

    def _fit(self, stage: Stage, trained: list[str]) -> dict:
        """Trains one stage, from its start or from the state, and returns what it was."""
        if self.insight is not None:
            self.insight.new_stage()
        with vehicles.vehicle(self.model, stage, start=self.start) as vehicle:
            if stage.learning_rate == "auto" and self.at.rate is None:
                self.at.rate = self._find_rate(vehicle.model, stage)
            compiling.recompile(vehicle.model, self._optimizer(vehicle.model, stage))
            about = facts.of_stage(
                self.model, stage, trained, first=self.at.first, rate=self.at.rate
            )
            self.record.note(facts.headline(about, self.at.stage + 1, len(self.plan)))
            patience = self._patience(stage)
            if self.saved is not None:
                state.restore(vehicle.model, *self.saved)
                patience.take_up(self.saved[1]["patience"])
                vehicle.settle()
                self.saved = None
            self._train(vehicle, self.keeper.lend(self.at.stage, vehicle.model), stage, patience)
            vehicle.settle()
        if stage.batch_norm == "recalibrate":
            self.passes.on_epoch_begin(self.at.epoch)
            recalibration.recalibrate(self.model, self.given.plain)
            self._offer(
                "after the batch-norm statistics were estimated again",
                epoch=max(self.at.epoch - 1, 0),
            )
        return about | {"epochs": [self.at.first, self.at.epoch - 1]}

    def _train(
        self, vehicle: vehicles.Vehicle, lent: policy.Lent, stage: Stage, patience: Patience
    ) -> None:
        last = self.at.epoch if self.at.is_stopped else self._last(stage)
        averages = Averages()
        if hasattr(
            lent.model, "_initial_epoch"
        ):  # what a BackupAndRestore left beats `initial_epoch`
            lent.model._initial_epoch = None
        theirs = Seen(self.callbacks, vehicle.model)
        lent.model.fit(
            lent.train,
            validation_data=lent.validation,
            initial_epoch=self.at.epoch,
            epochs=last,
            callbacks=[
                self.passes,
                averages,
                Limit(stage.steps),
                criteria.JointError(self.model),
                _Settled(vehicle, averages, self.best, is_exact=lent.model is vehicle.model),
                theirs.begin,
                *self.callbacks,
                theirs.end,
                patience,
                _EpochEnd(self, vehicle.model, patience),
            ],
            shuffle=False,  # data sets shuffle themselves
            verbose=self.verbose,
        )

    def _last(self, stage: Stage) -> int:
        """The epoch counter when the stage is over."""
        if stage.steps is None:
            return self.at.first + stage.epochs
        return self.at.first + -(-stage.steps // self.steps)

    def _optimizer(self, model: keras.Model, stage: Stage) -> keras.optimizers.Optimizer:
        return stage.new_optimizer(model, per_epoch=self.steps, rate=self.at.rate)

    def _patience(self, stage: Stage) -> Patience:
        asked = stage.stopping()
        if asked is None:
            return Patience(None)
        asked = {"monitor": self.best.monitor or "val_loss", **asked}
        if asked["monitor"].startswith("val_") and self.given.validation is None:
            if self.chosen is None:
                self.record.note(
                    f"no early stopping: there is no validation to measure {asked['monitor']} on"
                )
            return Patience(None)
        return Patience(**{"mode": "max" if "accuracy" in asked["monitor"] else "min", **asked})

    def _find_rate(self, model: keras.Model, stage: Stage) -> float:
        compiling.recompile(model, stage.new_optimizer(model, per_epoch=self.steps, rate=1e-3))
        lent = self.keeper.lend(self.at.stage, model)
        self.passes.on_epoch_begin(self.at.first)
        found = search.find_learning_rate(lent.model, lent.train, verbose=0)
        self.record.note(f"learning_rate={found.suggestion:.2g} found by a range test")
        return float(found.suggestion)

    def _solve(self, stage: Stage) -> dict:
        """Solves for the heads; counts as one epoch."""
        self.passes.on_epoch_begin(self.at.epoch)
        facts_of_it = solved_head.solve_heads(
            self.model, self.given, kept=self.keeper.heads(self.at.stage)
        )
        self.record.note(
            f"stage {self.at.stage + 1} of {len(self.plan)} ({stage.title}): {solved_head.told(facts_of_it)}"
        )
        logs = self._offer("after the head was solved for", epoch=self.at.epoch)
        self.note_epoch(logs)
        self.at.epoch += 1
        return {
            "name": stage.title,
            "epochs": [self.at.first, self.at.first],
            "solved": facts_of_it,
        }

    def _offer(self, when: str, *, epoch: int) -> dict:
        """Measures the model outside `fit`, and keeps its weights if they are the best."""
        if self.given.validation is None:
            return {}
        logs = self.model.evaluate(self.given.validation, return_dict=True, verbose=0)
        logs = {f"val_{name}": value for name, value in logs.items()}
        criteria.add_error(self.model, logs)
        shown = ", ".join(f"{name} {value:.4f}" for name, value in logs.items())
        self.record.note(f"{when}: {shown}")
        self.best.consider(epoch, logs, is_exact=True)
        return logs

    def note_epoch(self, logs: dict) -> None:
        """Adds an epoch to the history."""
        self.history.epoch.append(self.at.epoch)
        for name, value in (logs or {}).items():
            self.history.history.setdefault(name, []).append(float(value))

    def look(self) -> None:
        """Measures the model block by block."""
        if self.insight is None:
            return
        batch = self.first_batch if "gradient" in self.watch else None
        found = {"epoch": self.at.epoch, "stage": self.at.stage, **self.insight.measure(batch)}
        self.record.facts.setdefault("insight", []).append(plain(found))

    def leave_plain_optimizer(self) -> None:
        """Gives the model an optimizer that fits whichever layers will train: one with rates by layer does not."""
        with compiling.scope(self.model):
            plain_one = layer_rates.without_layers(self.model.optimizer)
        if plain_one is not None:
            compiling.recompile(self.model, plain_one)

    def save(self, model: keras.Model, patience: Patience) -> None:
        """Writes the state; a full disk costs a note, not the run."""
        if self.folder is None:
            return
        told = {
            "fingerprint": self.fingerprint,
            "at": self.at.__dict__,
            "epochs": self.history.epoch,
            "history": self.history.history,
            "stages": self.record.facts["stages"],
            "insight": self.record.facts.get("insight", []),
            "best": self.best.facts(),
            "chosen": self.chosen,
            "patience": patience.facts(),
        }
        try:
            with files.undisturbed():
                state.write(self.folder, model, plain(told))
        except OSError as failed:
            reason = failed.strerror or str(failed).splitlines()[0]
            checks.note(
                f"the state could not be written to {self.folder} ({reason}); training goes on"
            )


class _Settled(keras.callbacks.Callback):
    """At the end of an epoch, shows the model with what the vehicle learned to the keeper of the best weights."""

    def __init__(
        self, vehicle: vehicles.Vehicle, averages: Averages, best: Best, *, is_exact: bool
    ) -> None:
        super().__init__()
        self.vehicle, self.averages, self.best, self.is_exact = vehicle, averages, best, is_exact

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Keeps the weights if this epoch is the best so far."""
        with self.averages.in_model():
            self.vehicle.settle()
            self.best.consider(epoch, logs or {}, is_exact=self.is_exact)
        self.vehicle.settle()


class _EpochEnd(keras.callbacks.Callback):
    """The last callback: notes the epoch and writes the state."""

    def __init__(self, run: Run, trained: keras.Model, patience: Patience) -> None:
        super().__init__()
        self.run, self.trained, self.patience = run, trained, patience

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Everything that this epoch changed is settled now."""
        self.run.note_epoch(logs)
        self.run.look()
        self.run.at.epoch = epoch + 1
        self.run.at.is_stopped = bool(self.model.stop_training)
        self.run.save(self.trained, self.patience)
