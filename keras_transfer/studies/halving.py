"""Short trainings of a few networks, the better half of each round for twice as long in the next."""

import dataclasses
import math
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from keras_transfer import tasks
from keras_transfer.core import checks
from keras_transfer.studies import arms, candidates, chance, pool, rows, trials
from keras_transfer.studies.scores import Score

__all__ = ["Halving"]

KEPT = "features"  # folder in `run_dir`
STEP = "training"  # of the rows in the record


@dataclasses.dataclass
class Halving:
    """Successive halving: who is measured, on what, and where finished trainings are kept.

    Attributes:
        named: The sources of all candidates by name.
        made_by: Their descriptions, as of `rows.describe`.
        part: Data with training and validation images and no others.
        task: What the networks learn.
        score: By which they are compared.
        record: Of the study: what has finished.
        seed: Of all trainings.
        tell: Prints a line.
        jobs: As for `kt.compare`.
        ray: As for `kt.compare`.
    """

    named: Mapping[str, Any]
    made_by: Mapping[str, Any]
    part: Any
    task: tasks.Task
    score: Score
    record: rows.Rows
    seed: int
    tell: Callable[[str], None]
    jobs: int = 1
    ray: str | None = None

    def run(
        self, finalists: Sequence[str], epochs: int, *, run_dir: str | os.PathLike | None
    ) -> tuple[dict[str, list[dict]], dict[str, str]]:
        """Trains the networks in rounds until one is left.

        Args:
            finalists: Their names, best first; a later one goes on where it is better by more than chance.
            epochs: Of the first round.
            run_dir: Where outputs of frozen layers are kept as long as this runs; None for a temporary folder.

        Returns:
            By name the rows of a network's rounds, and by name why a network's training failed.

        Raises:
            InputError: If none could be trained.
        """
        rounds: dict[str, list[dict]] = {name: [] for name in finalists}
        failed: dict[str, str] = {}
        left = list(finalists)
        with tempfile.TemporaryDirectory() as temporary:
            kept = temporary if run_dir is None else str(pathlib.Path(run_dir).expanduser() / KEPT)
            while len(left) > 1:
                for row in self._train(left, epochs, kept):
                    if row["failed"]:
                        failed[row["arm"]] = f"its short training failed: {row['failed']}"
                        self.tell(f"{row['arm']} is left out: {failed[row['arm']]}")
                    else:
                        rounds[row["arm"]].append(row)
                left = [name for name in left if name not in failed]
                last = {name: _measured(rounds[name][-1]) for name in left}
                left = chance.pass_by(left, self.score, last.__getitem__)
                left = left[: math.ceil(len(left) / 2)]
                epochs *= 2
            if run_dir is not None:
                shutil.rmtree(kept, ignore_errors=True)
        if not left:
            given = "; ".join(f"{name}: {reason}" for name, reason in failed.items())
            raise checks.error("a candidate must be trainable on `data`", given=given)
        return rounds, failed

    def _train(self, names: Sequence[str], epochs: int, kept: str) -> Iterator[dict]:
        """Yields the row of each network: those of earlier calls first, others as they are trained."""
        missing = []
        for name in names:
            row = self.record.find(name, self.seed, step=STEP, epochs=epochs)
            if row is None:
                missing.append(trials.Trial(name, self.seed))
            else:
                yield {**row, "failed": ""}

        ways = {}
        for name in names:
            options = {"epochs": epochs, "calibrate": False}
            ways[name] = arms.Arm(source=candidates.trunk_of(self.named[name]), options=options)
        kind = self.task.kind
        setting = trials.Setting(self.part, self.task, None, ways, {kind: self.score}, {}, kept)
        try:
            for row in pool.run(try_to_train, setting, missing, jobs=self.jobs, ray=self.ray):
                if row["failed"]:
                    yield row
                    continue
                row["value"], row["interval"] = row["scores"][kind], row["intervals"].get(kind)
                steps = {"step": STEP, "epochs": epochs, "made_by": self.made_by[row["arm"]]}
                self.record.add({**row, **steps})
                shown = self.score.text(row["value"])
                self.tell(f"{row['arm']}, {epochs} epochs: {self.score.title} {shown}")
                yield row
        finally:
            setting.restore()


def _measured(row: Mapping) -> chance.Measured:
    return chance.Measured(row["value"], row["interval"])


def try_to_train(setting: trials.Setting, trial: trials.Trial) -> dict:
    """Trains and measures; returns the row of the training, with `failed`: why it failed, "" if it did not."""
    facts = {"arm": trial.arm, "seed": trial.seed}
    try:
        row = trials.measure(setting, trial)
    except candidates.FAILURES as problem:
        return {**facts, "failed": checks.first_line(problem)}
    if not all(map(math.isfinite, row["scores"].values())):
        return {**facts, "failed": "its score is not a finite number"}
    return {**row, "failed": ""}
