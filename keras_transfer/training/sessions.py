"""A call of `kt.fine_tune`: a run whose validation chooses the epoch, then one on all images where that is wanted."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_transfer.graphs import compiling, paths
from keras_transfer.training import augmenting, calibrating, inputs, refitting
from keras_transfer.training.cache.policy import Keeper
from keras_transfer.training.rates import layer_rates
from keras_transfer.training.recipes import Recipe
from keras_transfer.training.run import criteria, state
from keras_transfer.training.run.best import Best
from keras_transfer.training.run.clock import Clock, without_pace
from keras_transfer.training.run.engine import Position, Run
from keras_transfer.training.run.record import Record

__all__ = ["Session"]


@dataclasses.dataclass
class Session:
    """What the runs of one call have in common.

    Attributes:
        model: The user's model.
        recipe: What to do.
        record: Of the call.
        start: The weights when the first run began, by path.
        watch: What the runs measure by block.
        callbacks: The user's, and the log's.
        folder: Of the run, or None.
        verbose: As in `fit`.
        clock: Of the call.
    """

    model: keras.Model
    recipe: Recipe
    record: Record
    start: dict[str, np.ndarray]
    watch: Sequence[str]
    callbacks: Sequence[keras.callbacks.Callback]
    folder: pathlib.Path | None
    verbose: str | int
    clock: Clock = dataclasses.field(default_factory=lambda: Clock(None))

    def train(self, saved: state.Saved | None) -> keras.callbacks.History:
        """Trains to the end, and returns the history of the first run.

        Args:
            saved: The state to go on from, or None.
        """
        validation = self.recipe.data.validation
        first = self._new_run(
            self.recipe.data,
            self.recipe.plan,
            monitor=None if validation is None else criteria.monitor(self.model),
            callbacks=self.callbacks,
            on_stage_end=self._record_stages,
        )
        self.clock.growth = self._growth()
        if saved is not None:
            self.clock.before = saved.facts.get("spent", 0.0)
            self._resume(first, saved)

        try:
            temperatures = self._choose_epoch(first)
            if self._has_time_for_all(first) and first.best.stage is not None:
                self._train_on_all(first, saved, temperatures)
                first.history.before_refit = (
                    first.best.weights
                )  # for `kt.evaluate` on validation images
            elif temperatures:
                first.best.write()
        except BaseException:  # Ctrl-C as well: the record says how far the run came
            self._record_interruption(first)
            raise

        self._drop_rates_by_layer()
        self.record.update(
            status="finished",
            best_epoch=first.best.epoch,
            best_stage=first.best.stage,
            monitor=first.best.monitor,
            history=first.history.history,
        )
        if self.folder is not None:
            state.forget(self.folder)
        first.history.record = self.record.facts
        self.model.history = first.history
        return first.history

    def _has_time_for_all(self, first: Run) -> bool:
        """Whether a second run on all images is wanted, and `time_limit` leaves the time of the first."""
        growth, self.clock.growth = self._growth(), None
        if growth is None or self.clock.limit is None:
            return self.recipe.refit
        needed = growth * sum(stage.get("seconds", 0.0) for stage in first.stages)
        is_enough = 1.1 * needed <= self.clock.left
        if not is_enough and first.best.stage is not None:
            self.record.note(
                f"The model was not trained again on all images (refit): that would take about {needed:.0f} s, "
                f"and `time_limit` leaves {max(self.clock.left, 0.0):.0f} s."
            )
        return is_enough

    def _growth(self) -> float | None:
        """Returns how much longer a run on all images takes than the first; None where there will be none."""
        if not self.recipe.refit:
            return None
        examples = self.recipe.source.examples
        return 1 + len(examples["validation"]) / len(examples["train"])

    def _new_run(
        self,
        data: inputs.Inputs,
        plan: Sequence,
        *,
        monitor: str | None,
        callbacks: Sequence[keras.callbacks.Callback],
        first_run: dict | None = None,
        **options: Any,
    ) -> Run:
        """Returns a run over `plan` that has not begun.

        Args:
            data: To train on.
            plan: The stages.
            monitor: Chooses the best epoch; None for the last one.
            callbacks: Called in all stages.
            first_run: How the first run ended, for the state of the second one.
            **options: Of `Run`.
        """
        keeper = Keeper(
            self.model,
            data,
            plan,
            self.recipe.cache,
            views=self.recipe.views,
            seed=self.recipe.seed,
            note=self.record.note,
            verbose=self.verbose,
        )
        checkpoint = None
        if self.folder is not None:
            fingerprint = self.recipe.fingerprint(self.model)
            checkpoint = state.Checkpoint(self.folder, fingerprint, first_run)
        held_out = None if data.source is None else data.source.examples.get("validation")
        images = None if held_out is None else len(held_out)
        return Run(
            model=self.model,
            data=data,
            plan=plan,
            best=Best(self.model, monitor, folder=self.folder, images=images),
            keeper=keeper,
            note=self.record.note,
            start=self.start,
            callbacks=callbacks,
            watch=self.watch,
            checkpoint=checkpoint,
            verbose=self.verbose,
            clock=self.clock,
            **options,
        )

    def _resume(self, first: Run, saved: state.Saved) -> None:
        """Puts the first run where it was killed, or at its end if the second run was killed."""
        first.resume(saved.of_first_run())
        self.record.update(stages=first.stages, insight=first.insight)
        epoch, stage = (saved.facts["at"][name] + 1 for name in ("epoch", "stage"))
        where = "the run on all images" if saved.is_of_second_run else str(len(first.plan))
        self.record.note(f"Going on with epoch {epoch}, in stage {stage} of {where}.")

    def _record_stages(self, run: Run) -> None:
        self.record.update(stages=run.stages, history=run.history.history, cache=run.keeper.facts)
        if run.insight:
            self.record.update(insight=run.insight)

    def _choose_epoch(self, run: Run) -> dict[str, float]:
        """Trains the first run and puts the weights of its best epoch, calibrated, into the model.

        Returns:
            By what the logits of tasks were divided.
        """
        run.train()
        run.best.finish()
        self.record.note(_describe_outcome(run, is_delivered=not self.recipe.refit))
        monitor = run.best.monitor
        is_rounded = run.keeper.is_rounded and run.best.weights is not None
        if monitor is not None and is_rounded and not run.best.is_exact:
            self._note_exact_value(run, monitor)
        if run.data.validation is None or not self.recipe.calibrate:
            return {}

        chosen = calibrating.choose(self.model, run.data.validation)
        for line in [*chosen.lines, *chosen.warnings]:
            self.record.note(line)
        calibrating.divide_logits(self.model, chosen.temperatures)
        run.best.replace()
        self.record.update(temperatures=chosen.temperatures, baselines=chosen.baselines)
        return chosen.temperatures

    def _note_exact_value(self, run: Run, name: str) -> None:
        """Notes how far a measurement on rounded rows is from what the model does with images.

        Args:
            run: The first one, at its end.
            name: What chose the best epoch.
        """
        exact = criteria.evaluate(self.model, run.data.validation)[name]
        values = dict(zip(run.history.epoch, run.history.history[name], strict=True))
        rounded = values[run.best.epoch]
        self.record.note(
            f"On the kept outputs, which are rounded, the best epoch had {name} {rounded:.4f}; "
            f"on the images it has {exact:.4f}."
        )

    def _train_on_all(
        self, first: Run, saved: state.Saved | None, temperatures: dict[str, float]
    ) -> None:
        """Trains a second run from the first weights, on training and validation images together.

        It goes as far as validation said, and counts epochs on. Nothing is left to fit its temperatures on: they are
        those of the first run.
        """
        source = self.recipe.source
        held_out = len(source.examples["validation"])
        data = inputs.check(self.model, inputs.inputs(source.joined()))
        changes = self.recipe.data.changes
        data = augmenting.apply(changes, self.model, data, seed=self.recipe.seed)
        plan = refitting.stages_to_repeat(
            self.model,
            first.plan,
            first.stages,
            first.history,
            first.best,
            held_out=held_out,
            per_epoch=first.steps,
        )
        growth = self._growth() or 1.0
        cost = refitting.describe_cost(first.stages[: len(plan)], growth=growth)
        self.record.note(
            f"Retraining from the start on training + validation images ({data.examples}), {cost}; "
            "skip with refit=False."
        )

        for path, variable in paths.variables(self.model).items():
            variable.assign(self.start[path])
        if hasattr(self.model, "forget_companions"):
            self.model.forget_companions()
        try:
            with refitting.without_validation(self.callbacks, self.record.note) as callbacks:
                second = self._new_run(
                    data,
                    plan,
                    monitor=None,
                    callbacks=callbacks,
                    first_run=first.facts(),
                    at=Position(epoch=first.at.epoch, first=first.at.epoch),
                )
                if saved is not None and saved.is_of_second_run:
                    second.resume(saved)
                second.train()
            calibrating.divide_logits(self.model, temperatures)
            second.best.finish()
        except BaseException:  # Ctrl-C as well: the model keeps what validation chose
            first.best.finish()
            raise

        self.record.update(
            refit={
                "examples": data.examples,
                "stages": second.stages,
                "history": second.history.history,
                "insight": second.insight,
                "cache": second.keeper.facts,
            }
        )
        self.record.note(f"The model has the weights of the run on all {data.examples} images.")

    def _record_interruption(self, first: Run) -> None:
        self.record.update(status="interrupted", best_epoch=first.best.epoch)
        if first.insight:
            self.record.update(insight=first.insight)
        if self.folder is not None and (self.folder / state.FILE).is_file():
            self.record.note(
                f"Interrupted; the same call with run_dir={str(self.folder)!r}, resume=True goes on."
            )

    def _drop_rates_by_layer(self) -> None:
        """Gives the model an optimizer for whichever layers train next; one with rates by layer refuses others."""
        with compiling.scope(self.model):
            unpaced = without_pace(self.model.optimizer)
            optimizer = layer_rates.without_layers(unpaced or self.model.optimizer) or unpaced
        if optimizer is not None:
            compiling.recompile(self.model, optimizer)


def _describe_outcome(run: Run, *, is_delivered: bool) -> str:
    """Returns a line about the best epoch.

    Args:
        run: The first one, at its end.
        is_delivered: Whether its weights stay in the model.
    """
    if run.best.monitor is None:
        why = "No validation data"
        if run.data.validation is not None:
            why = "The validation loss does not say which epoch finds most objects"
        return f"{why}: the model keeps the weights of the last epoch."
    if run.best.stage is None:
        return (
            "The validation loss was never a number: lower the learning rate. "
            "The model keeps its last weights."
        )
    if run.best.epoch is None:
        whose, logs = "The solved head", run.stages[run.best.stage]["measured"]
    else:
        whose, at = f"Epoch {run.best.epoch + 1}", run.history.epoch.index(run.best.epoch)
        logs = {name: values[at] for name, values in run.history.history.items()}
    measured = [f"{name} {value:.4f}" for name, value in logs.items() if name.startswith("val_")]
    end = "; the model has its weights" if is_delivered else ""
    verdict = "is the best"
    if not run.best.is_highest:
        verdict = "counts as the best, since the rate has fallen and no other was better by more than chance"
    return f"{whose} {verdict} ({', '.join(measured)}){end}."
