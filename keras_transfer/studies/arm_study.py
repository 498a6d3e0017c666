"""`kt.compare`: several ways to a model, over seeds, and what the differences allow to say."""

import os
import pathlib
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from keras_transfer import data as data_room
from keras_transfer import models, tasks
from keras_transfer.core import checks, lookup
from keras_transfer.studies import arms as ways
from keras_transfer.studies import pool, rows, scores, training_options, trials
from keras_transfer.studies.comparison import VALIDATION, Comparison
from keras_transfer.studies.statistics import LEVEL
from keras_transfer.training.methods import solved_head

__all__ = ["compare"]

KEPT = "features"  # folder in `run_dir`


def compare(
    data: Any,
    arms: Any,
    *,
    backbone: Any = "MobileNetV2",
    task: tasks.Task | Mapping[str, tasks.Task] | None = None,
    metric: str | Mapping[str, str] | None = None,
    seeds: int = 3,
    level: float | None = LEVEL,
    images: Sequence[float] | None = None,
    options: Mapping[str, Any] | None = None,
    reference: str | None = None,
    jobs: int = 1,
    ray: str | None = None,
    run_dir: str | os.PathLike | None = None,
    verbose: str | int = "auto",
) -> Comparison:
    """Trains models in several ways, from several seeds, and says which is better and what it costs.

    Did the transfer help, and was it worth its time? Each arm is trained by `kt.fine_tune` on the same images and
    measured on the test images, or else on those for validation, which then nothing is trained on. What frozen layers
    give is computed once for all arms and seeds of one backbone, images are decoded once, a head that is solved for
    is the same for all seeds, so it is solved once, and what TensorFlow traces for an arm serves all its seeds.

    Args:
        data: From `kt.data`, or arrays `(images, labels)`, or a function of a seed that returns data from `kt.data`, so
            that splits differ, too.
        arms: A list of arms, or a dict of them by name. An arm is

            - "scratch": the network from random weights, all of it, at a high rate, on all labelled images;
            - "probe": a linear head on the frozen network, on all labelled images, its penalty chosen by
              cross-validation;
            - a plan of `kt.training.PLANS` ("two_stage", which is `kt.fine_tune(model, data)`, "head_only", ...);
            - a name of `kt.balancing.BALANCERS` or `kt.models.SHARING`, for several tasks;
            - a backbone, or anything that `kt.backbone` makes one of;
            - a dict of arguments: "arm" to start from, "backbone", "weights" (None: random ones), "sharing",
              "balancing", "balance_on", and those of `kt.fine_tune`;
            - a function of data and seed that returns a trained model, or its score.
        backbone: For arms without one of their own: a backbone, or what `kt.backbone` makes one of.
        task: A task, or tasks by name; by default those that fit the data's targets.
        metric: A score of the task's report, or a dict of them by task; by default the one that sums it up.
        seeds: How many. Heads, orders, changes of images and random weights differ.
        level: Of the intervals; None for none, which one seed needs.
        images: Learning curves: arms are trained on so many labelled images, too (shares of all, up to 1). An
            arm that still gains at the end would gain from more photos.
        options: Further arguments of `kt.fine_tune`, for all arms that do not set them.
        reference: The arm that others are compared with; by default "probe", else the first.
        jobs: How many processes of this machine train; the numbers are the same.
        ray: Address of a Ray cluster whose machines train, or "local" (extra `ray`); the numbers are the same.
        run_dir: Folder for finished trainings. The same call, also with more arms or seeds, continues where an earlier
            one was stopped, without training anything again that had finished.
        verbose: 0 prints nothing; otherwise there is a line for each training.

    Returns:
        A `Comparison`: prints as a table with conclusions, saves as a page, as JSON or as CSV.

    Raises:
        InputError: If something cannot work, before anything trains.

    Example:
        >>> import keras_transfer as kt
        >>> data = kt.data.scenes(40, image_size=32, test=0.3)
        >>> small = {"plan": "full", "epochs": 1}
        >>> comparison = compare(
        ...     data, {"probe": "probe", "all": small}, backbone="tiny", seeds=2, verbose=0
        ... )
        >>> sorted(comparison["arms"])
        ['all', 'probe']
    """
    seeds, level = _check_seeds(seeds, level)
    jobs = pool.check(jobs, ray)
    by_name = ways.make(arms)
    options = training_options.check(options, verb="kt.compare")
    if reference is not None:
        lookup.find(reference, by_name, argument="reference")
    elif "probe" in by_name:
        reference = "probe"
    first = _check_data(data(0) if callable(data) else data)
    if not callable(data):
        data = first
    task = tasks.for_data(first) if task is None else task
    chosen = scores.by_task(task, metric)
    sizes = _check_sizes(images, first)

    folder = None
    if run_dir is not None:
        folder = pathlib.Path(run_dir).expanduser()
    with tempfile.TemporaryDirectory() as temporary:
        kept = pathlib.Path(temporary) if folder is None else folder / KEPT
        setting = trials.Setting(data, task, backbone, by_name, chosen, options, str(kept))
        try:
            solved = _check_arms(setting, first)
            about = {
                "task": rows.describe(task),
                "scores": {name: score.name for name, score in chosen.items()},
                "backbone": rows.describe(setting.backbone),
                "options": rows.describe(options),
                "data": rows.describe_data(first),
            }
            record = rows.Rows(folder, about)
            if callable(data):
                solved = []  # other images for each seed
            _train_all(setting, record, seeds, sizes, solved, jobs=jobs, ray=ray, verbose=verbose)
        finally:
            setting.restore()
    if folder is not None:
        shutil.rmtree(kept, ignore_errors=True)
    names = list(by_name)
    wanted = [
        row
        for row in record.rows
        if row["arm"] in by_name and row["seed"] < seeds and row["of"] in sizes
    ]
    # Processes finish in any order.
    wanted.sort(key=lambda row: (row["seed"], row["images"], names.index(row["arm"])))
    about["measured_on"] = VALIDATION if first.test is None else "test images"
    return Comparison(chosen, wanted, names, reference=reference, level=level, about=about)


def _train_all(
    setting: trials.Setting,
    record: rows.Rows,
    seeds: int,
    sizes: Sequence[int | None],
    solved: Sequence[str],
    *,
    jobs: int,
    ray: str | None,
    verbose: str | int,
) -> None:
    """Trains what has not finished, and adds the rows to the record.

    Args:
        setting: What all trainings have in common.
        record: Of the study.
        seeds: How many.
        sizes: Numbers of labelled images; None for all.
        solved: Arms that every seed gives the same model on all images: one training stands for all of them.
        jobs: As for `compare`.
        ray: As for `compare`.
        verbose: As for `compare`.
    """
    made_by = {name: rows.describe(arm) for name, arm in setting.arms.items()}
    record.check_makers(made_by, called="arm")

    missing: list[trials.Trial] = []
    copies: list[trials.Trial] = []
    # The seeds of an arm one after the other: they train one model, which TensorFlow traces once.
    for name in setting.arms:
        for size in sizes:
            for seed in range(seeds):
                if record.has(name, seed, of=size):
                    continue
                is_copy = seed > 0 and size is None and name in solved
                (copies if is_copy else missing).append(trials.Trial(name, seed, size))

    total = len(setting.arms) * len(sizes) * seeds
    finished = total - len(missing) - len(copies)
    if finished and verbose != 0:
        checks.note(f"going on after {finished} of {total} trainings")

    def add(row: dict) -> None:
        record.add({**row, "made_by": made_by[row["arm"]]})

    for row in pool.run(trials.train, setting, missing, jobs=jobs, ray=ray):
        add(row)
        if verbose != 0:
            checks.note(_describe_row(row, setting))
    for trial in copies:
        trained = next(row for row in record.rows if row["arm"] == trial.arm and row["of"] is None)
        add({**trained, "seed": trial.seed, "repeats": trained["seed"]})


def _check_seeds(seeds: Any, level: Any) -> tuple[int, float | None]:
    seeds = checks.integer(seeds, name="seeds")
    if level is None:
        return seeds, None
    level = checks.number(level, name="level", above=0, below=1)
    if seeds < 2:
        fix = "Or set `level=None` to do without intervals."
        raise checks.error("`seeds` must be at least 2 for intervals", given=seeds, fix=fix)
    return seeds, level


def _check_data(data: Any) -> Any:
    if isinstance(data, tuple) and len(data) == 2:
        return data_room.from_arrays(*data)
    if not hasattr(data, "with_orders"):
        raise checks.error(
            "`data` must come from kt.data, be arrays (images, labels), or a function of a seed",
            given=type(data).__name__,
        )
    if data.train is None:
        raise checks.error("`data` must have training images", given="none")
    if data.test is None and data.validation is None:
        expected = "`data` must have test or validation images to measure on"
        raise checks.error(expected, given="neither", fix="Set `test=0.2`.")
    return data


def _check_sizes(images: Any, data: Any) -> list[int | None]:
    """Returns the numbers of labelled images to train on, smallest first, None for all at the end."""
    if images is None:
        return [None]
    values = [images] if not isinstance(images, Sequence) else images
    splits = ("train", "validation") if data.test is not None else ("train",)
    total = sum(len(data.examples[split]) for split in splits if split in data.examples)
    counts = set()
    for value in values:
        value = checks.number(value, name="images", above=0)
        count = round(value * total) if value <= 1 else round(value)
        if count > total or count < 2:
            expected = f"`images` must be from 2 to {total}, the labelled images, or shares of them"
            raise checks.error(expected, given=value)
        counts.add(count)
    return [*sorted(counts - {total}), None]


def _check_arms(setting: trials.Setting, data: Any) -> list[str]:
    """Raises the errors of all arms before anything trains; returns those that are the same model for all seeds.

    These solve for a head on pretrained weights, and train nothing.
    """
    solved = []
    by_cost = sorted(setting.arms, key=lambda name: setting.arms[name].is_random)
    for name in by_cost:
        arm = setting.arms[name]
        if arm.function is not None:
            continue
        try:
            backbone = setting.backbone_for_checks(arm, data)
            model = models.build_model(backbone, setting.task, **arm.scheme)
            options = {**setting.options, **arm.options, "verbose": 0}
            if data.test is None and options.get("refit"):
                fix = "Set `test=0.2` where `data` is made, so that they do not measure what was trained on them."
                expected = "`refit` must be left out where validation images measure"
                raise checks.error(expected, given=True, fix=fix)
            is_solved = solved_head.can_be_solved(model)
            if not arm.is_probe:
                plan = training_options.plan(model, data, options)
                is_solved = all(stage.applied_method.replaces_fit for stage in plan)
        except checks.InputError as wrong:
            raise checks.InputError(f"arm {name!r}: {wrong}") from wrong
        if is_solved and not arm.is_random:
            solved.append(name)
    return solved


def _describe_row(row: Mapping, setting: trials.Setting) -> str:
    several = len(row["scores"]) > 1
    parts = []
    for name, value in row["scores"].items():
        score = setting.scores[name]
        parts.append(f"{name if several else score.title} {score.text(value)}")
    size = "" if row["of"] is None else f" on {row['images']} images"
    return f"{row['arm']}{size}, seed {row['seed']}: {', '.join(parts)} ({row['seconds']:.0f} s)"
