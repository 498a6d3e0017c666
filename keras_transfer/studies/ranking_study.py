"""`kt.rank_backbones`: which pretrained network to take, by scores of frozen features and short trainings."""

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from keras_transfer import tasks
from keras_transfer.core import checks
from keras_transfer.features import SCORES
from keras_transfer.machine import progress
from keras_transfer.studies import arms, pool, trials
from keras_transfer.studies import candidates as networks
from keras_transfer.studies import scores as task_scores
from keras_transfer.studies.ranking import Ranking

__all__ = ["rank_backbones"]

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
    verbose: str | int = "auto",
) -> Ranking:
    """Ranks networks by how well they suit the data, without training all of them.

    Each candidate sees the labelled images once, frozen, and its features get the scores of `kt.features.SCORES`. The
    best by their mean rank, and the largest pretrained one, are then fine-tuned for a few epochs on the training images
    and measured on validation images; the better half goes on for twice as many, until one is left (successive
    halving). Test images are not looked at.

    A score is evidence, not the answer. The order by size is a column beside it, and the conclusions say where the
    scores are no better than that. Candidates whose weights are neither on this machine nor can be downloaded are
    listed with the reason, and so are those that a limit leaves out.

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
        verbose: 0 prints nothing; otherwise there is a line for each candidate.

    Returns:
        A `Ranking`: prints as a table with conclusions, saves as a page, as JSON or as CSV; `ranking["best"]` is the
        name of the first.

    Raises:
        InputError: If something cannot work, before a network is built.

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

    rows = _score_all(named, data, names, limits, images, seed, tell, verbose=verbose)
    ranking = Ranking(rows, score, names, seed=seed)
    chosen_names = ranking.finalists(finalists)
    if len(chosen_names) > 1:
        rounds = _halve(named, chosen_names, data, chosen, epochs, seed, tell, jobs=jobs, ray=ray)
        for row in rows:
            row["rounds"] = rounds.get(row["name"], [])
        ranking = Ranking(rows, score, names, seed=seed)
    return ranking


def _check_data(data: Any) -> None:
    if not hasattr(data, "without"):
        raise checks.error("`data` must come from kt.data", given=type(data).__name__)
    if data.train is None:
        raise checks.error("`data` must have training images", given="none")


def _score_all(
    named: Mapping[str, Any],
    data: Any,
    names: Sequence[str],
    limits: Mapping[str, float],
    images: int | None,
    seed: int,
    tell: Callable[[str], None],
    *,
    verbose: str | int,
) -> list[dict]:
    """Returns a row for each candidate: what it is and takes, and its scores."""
    labelled = data.without("test").joined() if data.validation is not None else data
    if images is not None and images < len(labelled.examples["train"]):
        labelled = labelled.without("test").sample(images, seed=seed)
        tell(f"scores are those of {images:,} labelled images, drawn at random")
    rows = []
    for name, source in progress.follow(
        named.items(), "Scoring candidates", total=len(named), unit="candidate", verbose=verbose
    ):
        candidate = networks.build(name, source, data)
        row: dict[str, Any] = {"name": name, "reason": candidate.reason, "scores": {}, "rounds": []}
        row |= {"parameters": None, "latency_ms": None, "memory": None}
        row["is_random"] = candidate.is_random
        rows.append(row)
        if candidate.backbone is None:
            tell(f"{name} is left out: {candidate.reason}")
            continue
        row["parameters"] = int(candidate.backbone.count_params())
        row["memory"] = networks.working_memory(candidate.backbone)
        if row["parameters"] <= limits["parameters"]:
            row["latency_ms"] = round(networks.latency(candidate.backbone), 2)
        row["reason"] = _beyond(row, limits)
        if row["reason"]:
            tell(f"{name} is left out: {row['reason']}")
            continue
        row["scores"] = networks.score(candidate, labelled, "train", names)
        shown = ", ".join(f"{key} {value:.3f}" for key, value in row["scores"].items())
        tell(f"{name}: {row['parameters']:,} parameters, {row['latency_ms']:.0f} ms; {shown}")
    return rows


def _beyond(row: Mapping, limits: Mapping[str, float]) -> str:
    """Returns which limit a candidate exceeds, "" for none."""
    if row["parameters"] > limits["parameters"]:
        return f"{row['parameters']:,} parameters, more than {limits['parameters']:,.0f}"
    if row["latency_ms"] > limits["latency_ms"]:
        return f"{row['latency_ms']:.0f} ms an image, more than {limits['latency_ms']:g}"
    return ""


def _halve(
    named: Mapping[str, Any],
    left: Sequence[str],
    data: Any,
    task: tasks.Task,
    epochs: int,
    seed: int,
    tell: Callable[[str], None],
    *,
    jobs: int,
    ray: str | None,
) -> dict[str, list[float]]:
    """Fine-tunes candidates in rounds, the better half of each for twice as many epochs in the next.

    Returns:
        By name the validation scores of the rounds that a candidate was in.
    """
    part = data.without("test")
    if part.validation is None:
        part = part.folds(5, seed=seed)[0]
    score = task_scores.choose(task)
    rounds: dict[str, list[float]] = {name: [] for name in left}
    left = list(left)
    with tempfile.TemporaryDirectory() as folder:
        while len(left) > 1:
            ways = {}
            for name in left:
                options = {"epochs": epochs, "calibrate": False}
                ways[name] = arms.Arm(source=networks.trunk_of(named[name]), options=options)
            setting = trials.Setting(part, task, None, ways, {task.kind: score}, {}, folder)
            items = [trials.Trial(name, seed) for name in left]
            try:
                for row in pool.run(trials.train, setting, items, jobs=jobs, ray=ray):
                    value = row["scores"][task.kind]
                    rounds[row["arm"]].append(value)
                    tell(f"{row['arm']}, {epochs} epochs: {score.title} {score.text(value)}")
            finally:
                setting.restore()
            # Of equals the one that the scores put first.
            left.sort(key=lambda name: -score.sign * rounds[name][-1])
            left = left[: math.ceil(len(left) / 2)]
            epochs *= 2
    rounded = {}
    for name, values in rounds.items():
        rounded[name] = [round(value, 6) for value in values]
    return rounded
