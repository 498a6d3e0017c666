"""`kt.compare_tasks`: joint training against a model for each task, over seeds."""

import dataclasses
import hashlib
import json
import os
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np

from keras_transfer import balancing as balancers
from keras_transfer import evaluation, models, tasks, training
from keras_transfer.core import checks
from keras_transfer.graphs import paths
from keras_transfer.storage import files
from keras_transfer.studies import relatedness
from keras_transfer.studies.task_comparison import JOINT, TaskComparison
from keras_transfer.training import augmenting, inputs, refitting

__all__ = ["compare_tasks"]

FILE = "comparison.json"


def compare_tasks(
    backbone: keras.Model,
    task: Mapping[str, tasks.Task],
    data: object,
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

    Every model starts at the weights that `backbone` has, with a new head, and is trained by `kt.fine_tune` with the
    same options; `augment` and `refit`, where they are left open, are for all what they are for the joint model. A
    single task sees the images that have a label for it, the joint model all. Scores are measured on the test images,
    else on those for validation. `backbone` is as it was afterwards.

    Args:
        backbone: From `kt.backbone`, or as for `kt.build_model`.
        task: Two or more tasks by name.
        data: From `kt.data`, with a target for each task; or a function of a seed that returns such data, so that
            splits and missing labels differ, too.
        seeds: How many: heads that are not solved for, orders and changes of images differ. One gives no intervals,
            two wide ones.
        sharing: How the joint model shares the trunk, as for `kt.build_model`.
        balancing: How it balances the tasks, as for `kt.build_model`.
        balance_on: As for `kt.build_model`.
        options: Further arguments of `kt.fine_tune`, for all models alike.
        batches: On how many batches of training images the tasks' gradients are compared in every epoch of joint
            training; 0 leaves this out.
        run_dir: Folder for what each finished training gave. The same call goes on there where an earlier one was
            stopped: nothing that was finished is trained again.
        verbose: 0 prints nothing; otherwise there is a line for each training.

    Returns:
        A `TaskComparison`: prints as a table, saves as a page or as JSON.

    Raises:
        InputError: If the parts do not fit each other, before training starts.

    Example:
        >>> import keras_transfer as kt
        >>> data = kt.data.scenes(160, image_size=32, targets=["class", "background"], test=0.2)
        >>> kinds = {name: kt.tasks.Classification(names) for name, names in data.class_names.items()}
        >>> options = {"plan": "full", "epochs": 1, "verbose": 0}
        >>> trunk = kt.backbone("tiny", weights=None)
        >>> found = compare_tasks(trunk, kinds, data, seeds=1, options=options, verbose=0)
        >>> sorted(found["tasks"])
        ['background', 'class']
    """
    seeds = checks.integer(seeds, name="seeds")
    batches = checks.integer(batches, name="batches", minimum=0)
    options = _options(options)
    if not isinstance(task, Mapping) or len(task) < 2:
        raise checks.error("`task` must be a dict of two or more tasks by name", given=repr(task))
    if JOINT in task:
        raise checks.error(
            "a task's name must be free", given=f"{JOINT!r}, which stands for all of them"
        )
    of_seed = data if callable(data) else lambda seed: data
    first = of_seed(0)
    _check_data(first, task)
    together = {"sharing": sharing, "balancing": balancing, "balance_on": balance_on}
    whole = models.build_model(backbone, task, **together)  # an error comes now
    options = _settled(options, whole, first)
    about = {
        "tasks": _shown(task),
        "backbone": f"{backbone.name} {_digest(backbone)}",
        "sharing": _shown(sharing),
        "balancing": _shown(balancing),
        "options": {name: _shown(value) for name, value in options.items()},
        "data": _about(first),
        "batches": batches,
    }
    rows = _Rows(run_dir, about)
    started = _Weights(backbone)
    try:
        for seed in range(seeds):
            arms = [arm for arm in (JOINT, *task) if not rows.has(arm, seed)]
            given = (first if seed == 0 else of_seed(seed)) if arms else None
            if seed and arms and not callable(data):
                given = first.with_orders(first.seed + seed)
            for arm in arms:
                started.put_back()
                row = _trained(arm, seed, backbone, task, given, together, options, batches)
                rows.add(row)
                if verbose != 0:
                    checks.note(_told(row))
    finally:
        started.put_back()
    return TaskComparison(task, [row for row in rows if row["seed"] < seeds], about)


def _options(given: object) -> dict:
    if given is not None and not isinstance(given, Mapping):
        raise checks.error(
            "`options` must be a dict of arguments of kt.fine_tune", given=repr(given)
        )
    options = dict(given or {})
    for name in ("seed", "run_dir", "resume"):
        if name in options:
            raise checks.error(
                f"`options` must leave {name!r} to kt.compare_tasks", given=repr(options[name])
            )
    return {"verbose": 0, **options}


def _settled(options: dict, model: keras.Model, data: object) -> dict:
    """With what is left open and depends on the model: one arm is not to have random changes that another has not."""
    is_open = options.get("epochs") is None and options.get("stages") is None
    if options.get("augment", "auto") == "auto":
        given = inputs.checked(model, inputs.inputs(data))
        options["augment"] = augmenting.chosen("auto", model, given, is_open=is_open, decided=[])
    if options.get("refit") is None:
        options["refit"] = refitting.wanted(None, data, is_open=is_open)
    return options


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


def _about(data: Any) -> dict:
    """What tells data from others in a record."""
    rows = {
        split: hashlib.blake2b(found.rows.tobytes(), digest_size=8)
        for split, found in data.examples.items()
    }
    return {
        "digest": data.digest,
        "seed": data.seed,
        "batch_size": data.batch_size,
        "image_size": list(data.image_size),
        "rows": {split: found.hexdigest() for split, found in rows.items()},
        "rule": list(data.epochs.rule) if data.epochs is not None else None,
    }


def _digest(model: keras.Model) -> str:
    """Tells its weights from others."""
    found = hashlib.blake2b(digest_size=8)
    for value in model.get_weights():
        found.update(np.ascontiguousarray(value).tobytes())
    return found.hexdigest()


class _Weights:
    """What a model is restored to before every training."""

    def __init__(self, model: keras.Model) -> None:
        self.model = model
        self.values = model.get_weights()
        self.trainable = [(layer, layer.trainable) for layer in paths.leaves(model).values()]

    def put_back(self) -> None:
        self.model.set_weights(self.values)
        for layer, trainable in self.trainable:
            layer.trainable = trainable


class _Rows:
    """What the trainings gave; kept in a file, if there is a folder, as soon as one has finished."""

    def __init__(self, folder: Any, about: Mapping) -> None:
        self.about = json.loads(json.dumps(about))
        self.file = (
            None
            if folder is None
            else pathlib.Path(files.check_writable(folder, argument="run_dir")) / FILE
        )
        self.rows = [] if self.file is None or not self.file.is_file() else self._read()

    def _read(self) -> list[dict]:
        try:
            kept = json.loads(self.file.read_text(encoding="utf-8"))
            other = [name for name, value in self.about.items() if kept["about"].get(name) != value]
            rows = list(kept["rows"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as failed:
            raise checks.error(
                "`run_dir` must hold a comparison or none", given=f"'{self.file}' ({failed})"
            ) from None
        if other:
            raise checks.error(
                f"`run_dir` must hold a comparison with the same {', '.join(other)}",
                given=f"'{self.file.parent}', of another",
                fix="Choose another folder.",
            )
        return rows

    def __iter__(self) -> Iterator[dict]:
        return iter(self.rows)

    def has(self, arm: str, seed: int) -> bool:
        return any((row["arm"], row["seed"]) == (arm, seed) for row in self.rows)

    def add(self, row: dict) -> None:
        self.rows.append(row)
        if self.file is not None:
            files.write_text(
                self.file, json.dumps({"about": self.about, "rows": self.rows}, indent=1)
            )


def _trained(
    arm: str,
    seed: int,
    backbone: keras.Model,
    task: Mapping,
    data: Any,
    together: Mapping,
    options: Mapping,
    batches: int,
) -> dict:
    """Trains one model, and returns its scores by task and the seconds that it took."""
    keras.utils.set_random_seed(seed)
    is_joint = arm == JOINT
    given = data if is_joint else data.only(arm)
    begin = time.perf_counter()
    model = (
        models.build_model(backbone, task, **together)
        if is_joint
        else models.build_model(backbone, task[arm])
    )
    similarity = None
    if is_joint and batches:
        looking, passes = time.perf_counter(), given.epochs.next
        similarity = relatedness.Similarity(model, list(given.train.take(batches)))
        given.set_epoch(passes)
        begin += time.perf_counter() - looking  # measuring is no part of training
    watching = [] if similarity is None else [similarity]
    callbacks = [*options.get("callbacks", ()), *watching]
    training.fine_tune(model, given, **{**options, "callbacks": callbacks, "seed": seed})
    seconds = time.perf_counter() - begin - sum(each.seconds for each in watching)
    report = evaluation.evaluate(model, given, verbose=0)
    measured = {name: report[name] for name in task} if is_joint else {arm: report}
    scores = {name: float(values[task[name].score]) for name, values in measured.items()}
    return {
        "arm": arm,
        "seed": seed,
        "scores": scores,
        "seconds": round(seconds, 2),
        "similarity": similarity and similarity.mean(),
    }


def _told(row: Mapping) -> str:
    scores = ", ".join(f"{name} {value:.4g}" for name, value in row["scores"].items())
    return f"{row['arm']}, seed {row['seed']}: {scores} ({row['seconds']:.0f} s)"


def _shown(value: Any) -> object:
    """A value as the record keeps it."""
    if isinstance(value, Mapping):
        return {str(name): _shown(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_shown(each) for each in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, models.Sharing):
        return {
            "scheme": type(value).__name__,
            **{name: _shown(each) for name, each in vars(value).items()},
        }
    if dataclasses.is_dataclass(value):
        return {
            field.name: _shown(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    config = value.get_config() if isinstance(getattr(value, "get_config", None), Callable) else {}
    return (
        f"{type(value).__name__}({', '.join(f'{name}={each!r}' for name, each in config.items())})"
    )
