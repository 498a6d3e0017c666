"""`kt.compare_tasks`: joint training against a model for each task, over seeds."""

import os
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import keras

from keras_transfer import balancing as balancers
from keras_transfer import evaluation, models, tasks, training
from keras_transfer.core import checks
from keras_transfer.studies import relatedness, rows, training_options
from keras_transfer.studies.initial import InitialWeights
from keras_transfer.studies.task_comparison import JOINT, TaskComparison

__all__ = ["compare_tasks"]


def compare_tasks(
    backbone: keras.Model,
    task: Mapping[str, tasks.Task],
    data: Any,
    *,
    seeds: int = 3,
    sharing: str | models.Sharing | Mapping[str, str] | None = None,
    balancing: str | Mapping[str, float] | balancers.Balancer | None = None,
    balance_on: str = "representation",
    options: Mapping[str, object] | None = None,
    batches: int = 4,
    run_dir: str | os.PathLike | None = None,
    verbose: str | int = "auto",
) -> TaskComparison:
    """Trains all tasks together and each on its own, from several seeds, and measures whether together is better.

    Every model starts at the weights of `backbone`, with new heads, and is trained by `kt.fine_tune` with the same
    options, `refit=False` among them. A single task sees the images that have a label for it, the joint model all.
    Scores are measured on the test images, or else on those for validation. Afterwards `backbone` is as it was before.

    Args:
        backbone: From `kt.backbone`, or as for `kt.build_model`.
        task: Two or more tasks by name.
        data: From `kt.data`, with a target for each task; or a function of a seed that returns such data, so that
            splits and missing labels differ, too.
        seeds: How many; heads that are not solved for, orders and changes of images differ. One seed gives no
            intervals, two give wide ones.
        sharing: How the joint model shares the trunk, as for `kt.build_model`.
        balancing: How it balances the tasks, as for `kt.build_model`.
        balance_on: As for `kt.build_model`.
        options: Further arguments of `kt.fine_tune`, the same for all models.
        batches: On how many batches of training images the tasks' gradients are compared in every epoch of joint
            training; 0 leaves this out.
        run_dir: Folder for the results of finished trainings. The same call continues there where an earlier one
            was stopped, without training anything again that had finished.
        verbose: 0 prints nothing; otherwise there is a line for each training.

    Returns:
        A `TaskComparison`: prints as a table, saves as a page or as JSON.

    Raises:
        InputError: If the parts do not fit each other, before training starts.

    Example:
        >>> import keras_transfer as kt
        >>> data = kt.data.scenes(64, image_size=32, targets=["class", "background"], test=0.2)
        >>> kinds = {name: kt.tasks.Classification(names) for name, names in data.class_names.items()}
        >>> options = {"plan": "full", "epochs": 1, "verbose": 0}
        >>> trunk = kt.backbone("tiny", weights=None)
        >>> comparison = compare_tasks(trunk, kinds, data, seeds=1, options=options, verbose=0)
        >>> sorted(comparison["tasks"])
        ['background', 'class']
    """
    seeds = checks.integer(seeds, name="seeds")
    batches = checks.integer(batches, name="batches", minimum=0)
    options = training_options.check(options, verb="kt.compare_tasks")
    _check_tasks(task)
    first = data(0) if callable(data) else data
    _check_data(first, task)
    scheme: dict[str, Any] = {"sharing": sharing, "balancing": balancing, "balance_on": balance_on}
    models.build_model(backbone, task, **scheme)  # raises errors before training starts
    # Scores are measured on validation images where there are no test images.
    options = {"verbose": 0, "refit": False, **options}

    about = {
        "tasks": rows.describe(task),
        "backbone": f"{backbone.name} {rows.describe_weights(backbone)}",
        "sharing": rows.describe(sharing),
        "balancing": rows.describe(balancing),
        "options": rows.describe(options),
        "data": rows.describe_data(first),
        "batches": batches,
    }
    record = rows.Rows(run_dir, about)
    study = _Study(backbone, task, scheme, options, batches)
    initial = InitialWeights(backbone)
    try:
        for seed in range(seeds):
            arms = [arm for arm in (JOINT, *task) if not record.has(arm, seed)]
            if not arms:
                continue
            seen = first
            if seed:
                seen = data(seed) if callable(data) else first.with_orders(first.seed + seed)
            for arm in arms:
                initial.restore()
                row = study.train(arm, seed, seen)
                record.add(row)
                if verbose != 0:
                    checks.note(_describe_row(row))
    finally:
        initial.restore()
    return TaskComparison(task, [row for row in record.rows if row["seed"] < seeds], about)


class _Study(NamedTuple):
    """What all trainings have in common."""

    backbone: keras.Model
    task: Mapping[str, tasks.Task]
    scheme: Mapping
    options: Mapping
    batches: int

    def train(self, arm: str, seed: int, data: Any) -> dict:
        """Trains the model of an arm; returns its scores by task and the seconds that training took."""
        keras.utils.set_random_seed(seed)
        if arm != JOINT:
            data = data.only(arm)
        begin = time.perf_counter()
        if arm == JOINT:
            model = models.build_model(self.backbone, self.task, **self.scheme)
        else:
            model = models.build_model(self.backbone, self.task[arm])

        callbacks = list(self.options.get("callbacks", ()))
        similarity = None
        if arm == JOINT and self.batches:
            before, passes = time.perf_counter(), data.epochs.next
            similarity = relatedness.Similarity(model, list(data.train.take(self.batches)))
            data.set_epoch(passes)  # reading the batches is no epoch of training
            begin += time.perf_counter() - before
            callbacks.append(similarity)
        training.fine_tune(model, data, **{**self.options, "callbacks": callbacks, "seed": seed})
        seconds = time.perf_counter() - begin
        if similarity is not None:
            seconds -= similarity.seconds

        report = evaluation.evaluate(model, data, verbose=0)
        by_task = {name: report[name] for name in self.task} if arm == JOINT else {arm: report}
        scores = {name: part[self.task[name].score] for name, part in by_task.items()}
        empty = [name for name, score in scores.items() if score is None]
        if empty:
            expected = f"`data` must have held-out images with something to find for {empty[0]!r}"
            raise checks.error(expected, given=f"no {self.task[empty[0]].score} could be measured")
        return {
            "arm": arm,
            "seed": seed,
            "scores": {name: float(score) for name, score in scores.items()},
            "seconds": round(seconds, 2),
            "similarity": None if similarity is None else similarity.mean(),
        }


def _check_tasks(task: Any) -> None:
    if not isinstance(task, Mapping) or len(task) < 2:
        raise checks.error("`task` must be a dict of two or more tasks by name", given=repr(task))
    if JOINT in task:
        raise checks.error(
            "a task's name must be free", given=f"{JOINT!r}, which stands for all of them"
        )


def _check_data(data: Any, task: Mapping) -> None:
    if not hasattr(data, "only"):
        raise checks.error(
            "`data` must come from kt.data, or be a function of a seed", given=type(data).__name__
        )
    if data.test is None and data.validation is None:
        raise checks.error(
            "`data` must have test or validation images to measure on", given="neither"
        )
    for name in task:
        data.only(name)


def _describe_row(row: Mapping) -> str:
    scores = ", ".join(f"{name} {value:.4g}" for name, value in row["scores"].items())
    return f"{row['arm']}, seed {row['seed']}: {scores} ({row['seconds']:.0f} s)"
