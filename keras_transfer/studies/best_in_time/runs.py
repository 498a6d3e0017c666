"""The runs of a search: each trains a network in one way, measures it, and keeps its weights."""

import dataclasses
import os
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_transfer import evaluation, models, tasks, training
from keras_transfer.core import checks
from keras_transfer.graphs import paths
from keras_transfer.layers import marks
from keras_transfer.studies import rows, scores
from keras_transfer.studies.best_in_time.networks import Network
from keras_transfer.studies.best_in_time.variations import VARIATIONS
from keras_transfer.studies.initial import InitialWeights
from keras_transfer.training import calibrating, refitting
from keras_transfer.training.run import arrays, criteria

__all__ = ["FULL", "HEAD", "SHORT", "Entry", "Runs"]

RESERVE = 0.03  # of the limit, for what comes after the last run
SCREENED = 6000  # images; of more, so many are drawn for all rounds but the last
HEAD, SHORT, FULL, SOUP = "head", "short", "full", "soup"  # rounds


@dataclasses.dataclass(frozen=True)
class Entry:
    """A network at an image size."""

    network: Network
    size: tuple[int, int]

    @property
    def name(self) -> str:
        """The network and the size, for the leaderboard."""
        side = "x".join(map(str, dict.fromkeys(self.size)))
        return f"{self.network.name} at {side}"


class Runs:
    """Trains and measures networks within a time, one line a run, and keeps the weights of each.

    Args:
        data: From `kt.data`, with validation images; or a function of the image size that returns such data.
        time_limit: Seconds from now on.
        networks: To choose from.
        sizes: Image sides, where the data can have any.
        task: A task, or tasks by target; None for those that fit the targets.
        seed: Of weights and orders.
        note: Is told a line about each run.

    Attributes:
        entries: The networks, at each size.
        score: By which lines are compared.
        skipped: What was not tried, and why.
        fresh: The model that the last run trained, where that was a full one.
    """

    def __init__(
        self,
        data: Any,
        time_limit: float,
        networks: Sequence[Network],
        sizes: Sequence[int],
        task: tasks.Task | Mapping[str, tasks.Task] | None,
        *,
        seed: int,
        note: Callable[[str], object],
    ) -> None:
        self.time_limit, self.seed, self.note = time_limit, seed, note
        self._begin, self._before = time.monotonic(), 0.0
        self._source: Any = data if callable(data) else None
        self._data: dict[tuple[int, int], Any] = {}
        self._few: dict[tuple[int, int], Any] = {}
        pairs = [checks.image_size(side) for side in sizes]
        if self._source is None:
            pairs = [_check_data(data).image_size]
            self._data = {pairs[0]: data}
        self.entries = [Entry(each, size) for size in pairs for each in networks]
        first = self.data_of(pairs[0])
        self.task = tasks.for_data(first) if task is None else task
        for each in self.task.values() if isinstance(self.task, Mapping) else [self.task]:
            tasks.require(each)
        self.score = _score_of(self.task)
        self.skipped: list[dict] = []
        self.fresh: keras.Model | None = None
        self._trunks: dict[Entry, InitialWeights] = {}

    @property
    def spent(self) -> float:
        """Seconds that are gone."""
        return self._before + time.monotonic() - self._begin

    @property
    def left(self) -> float:
        """Seconds that runs may still take."""
        return self.time_limit * (1 - RESERVE) - self.spent

    def data_of(self, size: tuple[int, int]) -> Any:
        """Returns the data with images of a size."""
        if size not in self._data:
            self._data[size] = _check_data(self._source(size))
        return self._data[size]

    def few_of(self, size: tuple[int, int]) -> Any:
        """Returns what all rounds but the last train on, and what every line is measured on."""
        if size not in self._few:
            data = self.data_of(size)
            drawn = ("train", "validation")  # test images are not looked at
            total = sum(len(data.examples[split]) for split in drawn)
            if total > SCREENED:
                self.note(f"{SCREENED:,} of {total:,} images are drawn for all rounds but the last")
                data = data.sample(SCREENED, seed=self.seed, among=drawn)
            self._few[size] = data
        return self._few[size]

    def model_of(self, entry: Entry) -> keras.Model:
        """Returns a model that nothing has trained."""
        data = self.data_of(entry.size)
        if entry not in self._trunks:
            trunk = entry.network.build(entry.size, data.channels)
            self._trunks[entry] = InitialWeights(trunk)
        self._trunks[entry].restore()
        return models.build_model(self._trunks[entry].model, self.task, seed=self.seed)

    def open(self, folder: str | os.PathLike, *, about: Mapping) -> None:
        """Reads the lines that are in a folder already, or begins there."""
        size = self.entries[0].size
        described = {
            **about,
            "data": rows.describe_data(self.data_of(size)),
            "candidates": [entry.name for entry in self.entries],
            "task": rows.describe(self.task),
            "seed": self.seed,
        }
        self.folder = pathlib.Path(folder).expanduser()
        self.rows = rows.Rows(self.folder, described)
        if self.rows.rows:
            self._before = self.rows.rows[-1]["spent"]
            self.note(f"going on after {len(self.rows.rows)} runs and {self._before:.0f} s")

    @property
    def lines(self) -> list[dict]:
        """The runs that have finished."""
        return self.rows.rows

    def train(
        self, entry: Entry, way: str, round_name: str, seconds: float, *, least: float = 0.0
    ) -> dict | None:
        """Trains and measures one line, unless it is there already; returns None for one that cannot be.

        Args:
            entry: What to train.
            way: One of `VARIATIONS`, or for a head any words.
            round_name: Of the round.
            seconds: That it may take.
            least: Seconds below which it is not begun.
        """
        name = f"{entry.name}: {way} ({round_name})"
        for line in self.lines:
            if line["arm"] == name:
                return line
        if seconds <= least:
            self.skip(name, "no time was left for it")
            return None
        data = few = self.few_of(entry.size)
        if round_name == FULL:
            data = self.data_of(entry.size)
        begin, model = time.monotonic(), self.model_of(entry)
        try:
            history = training.fine_tune(
                model,
                data,
                **self._options(model, data, way, round_name),
                time_limit=seconds,
                seed=self.seed,
                watch=(),
                verbose=0,
            )
            after_refit = None
            if getattr(history, "before_refit", None) is not None:
                after_refit = model.get_weights()
                model.set_weights(history.before_refit)
            # Those of the run are of all validation images: lines are compared on the same ones.
            logs = (
                _logs_of_best(history) if data is few else criteria.evaluate(model, few.validation)
            )
            measured = self._measure(model, few, logs)
        except checks.InputError as refused:
            self.skip(name, checks.first_line(refused))
            return None
        line = {**self._describe(entry, way), "arm": name, "round": round_name, **measured}
        line |= {"seconds": round(time.monotonic() - begin, 2), "is_refit": after_refit is not None}
        self._write(line, model)
        if after_refit is not None:
            model.set_weights(after_refit)
            self._write(line, model, suffix="refit")
        self._add(line)
        self.fresh = model if round_name == FULL else None
        return line

    def average(self, entry: Entry) -> None:
        """Averages the weights of a network's runs, one after the other, as long as that is better on validation."""
        own = [
            line
            for line in self.lines
            if line["network"] == entry.network.name and line["size"] == list(entry.size)
            if line["round"] in (SHORT, FULL)
        ]
        name = f"{entry.name}: soup ({SOUP})"
        if len(own) < 2 or any(line["arm"] == name for line in self.lines):
            return
        begin = time.monotonic()
        cost = 2 * len(own) * min(line["measured_seconds"] for line in own)
        if cost > self.time_limit - self.spent:
            self.skip(name, "no time was left for it")
            return
        data, model = self.few_of(entry.size), self.model_of(entry)
        files = [str(self._file(line)) for line in own]

        def taste(tasted: keras.Model) -> float:
            logs = criteria.evaluate(tasted, data.validation)
            monitor = criteria.monitor(tasted) or "val_loss"
            return logs[monitor] if criteria.is_share(monitor) else -logs[monitor]

        result = self._load(model, files, kind="greedy", score=taste)
        self._choose_thresholds(model, data)
        if len(result.used) < 2:
            return
        logs = criteria.evaluate(model, data.validation)
        way = f"soup of {len(result.used)} runs"
        line = {**self._describe(entry, way), "arm": name, "round": SOUP}
        line |= self._measure(model, data, logs)
        line |= {"seconds": round(time.monotonic() - begin, 2), "is_refit": False}
        self._write(line, model)
        self._add(line)

    def deliver(self, best: Mapping, model: keras.Model | None) -> tuple[keras.Model, bool]:
        """Returns the model of the best line, and whether it was trained on all images in the end."""
        entry = next(
            each
            for each in self.entries
            if each.network.name == best["network"] and list(each.size) == best["size"]
        )
        is_fresh = model is not None and best["round"] == FULL
        if not is_fresh:
            model = self.model_of(entry)
        suffix = "refit" if best["is_refit"] else ""
        self._load(model, [str(self._file(best, suffix))])
        if not is_fresh:
            self._choose_thresholds(model, self.data_of(entry.size))
        return model, bool(best["is_refit"])

    def skip(self, name: str, why: str) -> None:
        """Notes that something is not tried, and why."""
        self.skipped.append({"name": name, "why": why.rstrip(".")})
        self.note(f"not tried: {name} ({why.rstrip('.')})")

    def _describe(self, entry: Entry, way: str) -> dict:
        """Returns what a line says of its network and of how it was trained."""
        return {
            "seed": self.seed,
            "network": entry.network.name,
            "size": list(entry.size),
            "way": way,
        }

    def _options(self, model: keras.Model, data: Any, way: str, round_name: str) -> dict[str, Any]:
        """Returns the arguments of `kt.fine_tune` for a line."""
        if round_name == HEAD:
            return {"plan": "head_only", "refit": False}
        options = VARIATIONS[way].options(model, data)
        if round_name == SHORT:
            return {**options, "refit": False}
        if "stages" in options:  # left open, the recipe decides it by the number of images
            options["refit"] = _is_small(data)
        return options

    def _measure(self, model: keras.Model, data: Any, logs: Mapping[str, float]) -> dict:
        """Returns score, interval, loss, size, and how long measuring took."""
        begin = time.monotonic()
        value, bounds = logs.get(criteria.ERROR), None
        if not isinstance(self.task, Mapping):
            report = evaluation.evaluate(
                model, data.validation, task=None, max_mistakes=0, verbose=0
            )
            value = report[self.score.name]
            bounds = report.to_dict().get("intervals", {}).get(self.score.name)
        return {
            "score": _finite(value),
            "interval": bounds,
            "loss": _finite(logs.get("val_loss")),
            "parameters": int(model.count_params()),
            "measured_seconds": round(time.monotonic() - begin, 2),
        }

    def _add(self, line: dict) -> None:
        """Adds a line, all weights of which are written: a search that is stopped before does it again."""
        line["spent"] = round(self.spent, 2)
        self.rows.add(line)
        value = "not known" if line["score"] is None else self.score.text(line["score"])
        self.note(f"{line['arm']}: {self.score.title} {value}, {line['seconds']:.0f} s")

    def _file(self, line: Mapping, suffix: str = "") -> pathlib.Path:
        number = next(
            (at for at, each in enumerate(self.lines) if each["arm"] == line["arm"]),
            len(self.lines),
        )
        return self.folder / f"weights_{number}{suffix and '_'}{suffix}.npz"

    def _write(self, line: Mapping, model: keras.Model, *, suffix: str = "") -> None:
        values = {
            path: keras.ops.convert_to_numpy(variable)
            for path, variable in paths.variables(model).items()
        }
        arrays.write(self._file(line, suffix), values, what="The weights")

    def _load(self, model: keras.Model, files: list[str], **options: Any) -> training.SoupResult:
        """Puts weights, or a soup of several, into a model."""
        return training.soup(files, model=model, **options)

    def _choose_thresholds(self, model: keras.Model, data: Any) -> None:
        """Chooses what a task keeps beside its weights."""
        if any(output.task.calibrates for output in marks.outputs(model).values()):
            calibrating.choose(model, data.validation)


def _check_data(data: Any) -> Any:
    if not hasattr(data, "examples") or not hasattr(data, "image_size"):
        raise checks.error(
            "`data` must come from kt.data, or be a function of the image size that returns such data",
            given=type(data).__name__,
        )
    for split in ("train", "validation"):
        if getattr(data, split) is None:
            fix = "Set `validation=0.2` where it is made." if split == "validation" else ""
            raise checks.error(f"`data` must have {split} images", given="none", fix=fix)
    return data


def _score_of(task: tasks.Task | Mapping[str, tasks.Task]) -> scores.Score:
    """Returns the score by which lines are compared."""
    if not isinstance(task, Mapping):
        return scores.choose(task)
    return scores.Score("error", "joint error", False, False)


def _is_small(data: Any) -> bool:
    return sum(len(data.examples[split]) for split in ("train", "validation")) <= refitting.MANY


def _logs_of_best(history: Any) -> dict[str, float]:
    """Returns the logs of the epoch, or of the solved head, whose weights were the best."""
    record = history.record
    epoch, stage = record["best_epoch"], record["best_stage"]
    if epoch is None:
        stages = record.get("stages") or []
        if stage is None or stage >= len(stages):
            return {}
        return stages[stage].get("measured", {})
    at = list(history.epoch).index(epoch)
    return {name: values[at] for name, values in history.history.items()}


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and np.isfinite(value) else None
