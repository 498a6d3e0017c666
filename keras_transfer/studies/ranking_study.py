"""`kt.rank_backbones`: which pretrained network to take, by scores of frozen features and short trainings."""

import dataclasses
import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from keras_transfer import backbones, models, tasks
from keras_transfer.core import checks, labelled
from keras_transfer.features import SCORES
from keras_transfer.machine import progress
from keras_transfer.pages import columns
from keras_transfer.studies import candidates as networks
from keras_transfer.studies import pool, rows, training_options
from keras_transfer.studies import scores as task_scores
from keras_transfer.studies.halving import Halving
from keras_transfer.studies.ranking import Ranking

__all__ = ["rank_backbones"]

STEP = "scores"  # of the rows in the record; trainings have another
KINDS = {"classification": False, "regression": True, "multi_label": True}  # is the label a number?


def rank_backbones(
    candidates: Any,
    data: Any,
    *,
    task: tasks.Task | None = None,
    max_latency: float | None = None,
    max_parameters: int | None = None,
    images: int | None = 5000,
    finalists: int = 4,
    epochs: int = 2,
    seed: int = 0,
    jobs: int = 1,
    ray: str | None = None,
    run_dir: str | os.PathLike | None = None,
    verbose: str | int = "auto",
) -> Ranking:
    """Ranks networks by how well they suit the data, without training all of them.

    Each candidate sees the labelled images once, frozen, and its features get the scores of `kt.features.SCORES`. The
    best by their mean rank, and the largest pretrained one, are then fine-tuned for a few epochs on the training images
    and measured on validation images; the better half goes on for twice as many, until one is left (successive
    halving). One that the scores put behind another passes it where its training is better by more than chance makes
    on so many images. Test images are not looked at.

    A score is evidence, not the answer. The order by size is a column beside it, and the conclusions say where the
    scores are no better than that. All networks are trained from one seed and measured on the same validation images:
    where these cannot tell the first two apart, a conclusion says so.

    Candidates whose weights are neither on this machine nor can be downloaded are listed with the reason, and so are
    those that a limit leaves out, and those whose features cannot be scored or whose training fails.

    Args:
        candidates: A list, or a dict by name: names of `kt.backbones.names()`, anything else that `kt.backbone` takes
            ("kerashub:..." presets, files, folders), backbones, and trained models of `kt.build_model`, whose own
            classes give two more scores.
        data: From `kt.data`, with one target.
        task: By default the one that fits the target.
        max_latency: Milliseconds that one image may take on this machine.
        max_parameters: How many the network may have, without a head.
        images: At most so many labelled images are scored; None for all.
        finalists: How many are fine-tuned; 0 leaves that out.
        epochs: Of the first round.
        seed: Of what is drawn.
        jobs: How many processes fine-tune, as for `kt.compare`.
        ray: As for `kt.compare`.
        run_dir: Folder for what has finished. The same call, also with more candidates, continues where an earlier one
            was stopped, without scoring or training anything again that had finished.
        verbose: 0 prints nothing; otherwise there is a line for each candidate.

    Returns:
        A `Ranking`: prints as a table with conclusions, saves as a page, as JSON or as CSV; `ranking["best"]` is the
        name of the first.

    Raises:
        InputError: If something cannot work, before a candidate is built; and if every candidate or finalist fails.

    Example:
        >>> import keras_transfer as kt
        >>> data = kt.data.scenes(40, image_size=32)
        >>> networks = {"trained": kt.backbone("tiny"), "random": kt.backbone("tiny", weights=None)}
        >>> ranking = rank_backbones(networks, data, finalists=0, verbose=0)
        >>> ranking["best"]
        'trained'
    """
    named = networks.name_all(candidates)
    limits = {"latency_ms": math.inf, "parameters": math.inf}
    if max_latency is not None:
        limits["latency_ms"] = checks.number(max_latency, name="max_latency", above=0)
    if max_parameters is not None:
        limits["parameters"] = checks.integer(max_parameters, name="max_parameters")
    finalists = checks.integer(finalists, name="finalists", minimum=0)
    epochs = checks.integer(epochs, name="epochs")
    jobs = pool.check(jobs, ray)
    if images is not None:
        checks.integer(images, name="images", minimum=10)
    _check_data(data)
    networks.check_sizes(named, data)
    chosen = tasks.for_data(data) if task is None else tasks.require(task)
    if isinstance(chosen, Mapping):
        fix = f"Choose one: data.only({next(iter(chosen))!r})."
        raise checks.error("`data` must have one target", given=", ".join(chosen), fix=fix)

    score = task_scores.choose(chosen)
    names = [
        name
        for name, row in SCORES.items()
        if chosen.kind in KINDS and (row.takes_numbers or not KINDS[chosen.kind])
    ]

    def tell(text: str) -> None:
        if verbose != 0:
            checks.note(text)

    part = data.without("test")
    if part.validation is None and min(finalists, len(named)) > 1:
        part = part.folds(5, seed=seed)[0]
    _check_task(chosen, part)
    about = {
        "task": rows.describe(chosen),
        "data": rows.describe_data(data),
        "images": images,
        "limits": {"max_latency": max_latency, "max_parameters": max_parameters},
    }
    record = rows.Rows(run_dir, about, study="ranking")
    made_by = {name: rows.describe(source) for name, source in named.items()}
    record.check_makers(made_by, called="candidate")
    if record.rows:
        scored = [row for row in record.rows if row["step"] == STEP]
        trained = [row for row in record.rows if row["step"] != STEP]
        both = columns.count(scored, "scored candidate"), columns.count(trained, "short training")
        tell(f"going on after {' and '.join(both)}")

    seen = _draw(data, images, seed, tell)
    if names:
        networks.check_labels(seen, "train")
    scoring = _Scoring(seen, names, limits, record, made_by, seed, tell)
    table = scoring.run(named, verbose=verbose)
    ranking = Ranking(table, score, names, seed=seed)
    chosen_names = ranking.finalists(finalists)
    if len(chosen_names) > 1:
        halving = Halving(
            named, made_by, part, chosen, score, record, seed, tell, jobs=jobs, ray=ray
        )
        rounds, failed = halving.run(chosen_names, epochs, run_dir=run_dir)
        for row in table:
            own = rounds.get(row["name"], [])
            row["rounds"] = [round(each["value"], 6) for each in own]
            row["intervals"] = [each["interval"] for each in own]
            row["reason"] = failed.get(row["name"], row["reason"])
        count = _count(part, "validation")
        ranking = Ranking(table, score, names, seed=seed, images=count)
    return ranking


def _check_data(data: Any) -> None:
    if not hasattr(data, "without"):
        raise checks.error("`data` must come from kt.data", given=type(data).__name__)
    if data.train is None:
        raise checks.error("`data` must have training images", given="none")


def _check_task(task: tasks.Task, data: Any) -> None:
    """Raises an error if the task does not fit the data, whatever the network."""
    try:
        trunk = backbones.backbone(
            "tiny", weights=None, image_size=data.image_size, channels=data.channels
        )
    except checks.InputError:  # the images are too small for it: the candidates will tell
        return
    training_options.plan(models.build_model(trunk, task), data, {"calibrate": False})


def _count(data: Any, split: str) -> int:
    """Returns how many images of a split have a label."""
    if data.weights is None:
        return len(data.examples[split])
    return int(labelled.rows(data.weights[split]).sum())


def _draw(data: Any, images: int | None, seed: int, tell: Callable[[str], None]) -> Any:
    """Returns data whose training images are those that features are scored on."""
    seen = data.without("test").joined() if data.validation is not None else data
    if images is not None and images < len(seen.examples["train"]):
        seen = seen.without("test").sample(images, seed=seed)
        tell(f"scores are those of {images:,} labelled images, drawn at random")
    return seen


@dataclasses.dataclass
class _Scoring:
    """What the scoring of all candidates has in common."""

    data: Any
    names: Sequence[str]
    limits: Mapping[str, float]
    record: rows.Rows
    made_by: Mapping[str, Any]
    seed: int
    tell: Callable[[str], None]

    def run(self, named: Mapping[str, Any], *, verbose: str | int) -> list[dict]:
        """Returns a row for each candidate: what it is and takes, and its scores; or why it is left out."""
        table, failed = [], []
        for name, source in progress.follow(
            named.items(), "Scoring candidates", total=len(named), unit="candidate", verbose=verbose
        ):
            finished = self.record.find(name, self.seed, step=STEP)
            if finished is not None:
                table.append(dict(finished["row"]))
                continue
            row: dict[str, Any] = {"name": name, "reason": "", "scores": {}, "rounds": []}
            row |= {"parameters": None, "latency_ms": None, "memory": None, "is_random": False}
            table.append(row)
            try:
                is_built = self._fill(row, source)
            except networks.FAILURES as problem:
                row["reason"] = f"it cannot be scored: {checks.first_line(problem)}"
                failed.append(f"{name}: {row['reason']}")
                is_built = False
            if is_built:  # if not, another call may find weights or memory
                step = {"step": STEP, "made_by": self.made_by[name]}
                self.record.add({"arm": name, "seed": self.seed, **step, "row": dict(row)})
            self._tell_row(row)
        if failed and all(row["reason"] for row in table):
            raise checks.error("a candidate must be usable with `data`", given="; ".join(failed))
        return table

    def _fill(self, row: dict[str, Any], source: Any) -> bool:
        """Puts into a row what a candidate is and takes, and its scores; returns whether it could be built."""
        candidate = networks.build(row["name"], source, self.data)
        row |= {"reason": candidate.reason, "is_random": candidate.is_random}
        if candidate.backbone is None:
            return False
        row["parameters"] = int(candidate.backbone.count_params())
        row["memory"] = networks.working_memory(candidate.backbone)
        if row["parameters"] <= self.limits["parameters"]:
            row["latency_ms"] = round(networks.latency(candidate.backbone), 2)
        row["reason"] = _beyond(row, self.limits)
        if self.names and not row["reason"]:
            row["scores"] = networks.score(candidate, self.data, "train", self.names)
        return True

    def _tell_row(self, row: Mapping) -> None:
        if row["reason"]:
            self.tell(f"{row['name']} is left out: {row['reason']}")
            return
        shown = ", ".join(f"{key} {value:.3f}" for key, value in row["scores"].items())
        size = f"{row['parameters']:,} parameters, {row['latency_ms']:.0f} ms"
        self.tell(f"{row['name']}: {size}; {shown}")


def _beyond(row: Mapping, limits: Mapping[str, float]) -> str:
    """Returns which limit a candidate exceeds, "" for none."""
    if row["parameters"] > limits["parameters"]:
        return f"{row['parameters']:,} parameters, more than {limits['parameters']:,.0f}"
    if row["latency_ms"] > limits["latency_ms"]:
        return f"{row['latency_ms']:.0f} ms an image, more than {limits['latency_ms']:g}"
    return ""
