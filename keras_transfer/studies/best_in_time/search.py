"""`kt.auto`: the best model for the time at hand, found by measuring on the user's data."""

import contextlib
import dataclasses
import os
import pathlib
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_transfer import evaluation, models, tasks, training
from keras_transfer.core import checks, lookup
from keras_transfer.graphs import paths
from keras_transfer.layers import marks
from keras_transfer.studies import rows, scores, trials
from keras_transfer.studies.best_in_time.leaderboard import Leaderboard, rank
from keras_transfer.studies.best_in_time.networks import Network, read
from keras_transfer.studies.best_in_time.variations import PRESETS, VARIATIONS, Preset
from keras_transfer.studies.initial import InitialWeights
from keras_transfer.training import calibrating, refitting
from keras_transfer.training.methods import solved_head
from keras_transfer.training.run import arrays, criteria

__all__ = ["auto"]

# Shares of the time that is left: of all heads, of short runs of several networks, of short runs of several ways.
HEADS, NETWORKS, WAYS = 0.4, 0.25, 0.3
# Networks whose heads are further behind the best are not fine-tuned: in points of a hundred, or as a factor of errors.
GAP, FACTOR = 0.15, 1.5
RESERVE = 0.03  # of the limit, for what comes after the last run
SCREENED = 6000  # images; of more, so many are drawn for all rounds but the last
HEAD, SHORT, FULL, SOUP = "head", "short", "full", "soup"  # rounds


def auto(
    data: Any,
    *,
    time_limit: float = 600.0,
    preset: str = "high",
    candidates: Any = None,
    task: tasks.Task | Mapping[str, tasks.Task] | None = None,
    run_dir: str | os.PathLike | None = None,
    seed: int = 0,
    verbose: int = 1,
) -> tuple[keras.Model, Leaderboard]:
    """Returns the best model for these images that can be found in the time, and all that was tried.

    First every network gets a head, fitted to its frozen features. The best of them are fine-tuned for a short time,
    the best of these in several ways, and the best network in the best way as long as the time allows: that is
    successive halving. Everything is measured on the validation images. The model is that of the best line, trained
    again on training and validation images together where there is time for it. Of more than 6,000 images, so many are
    drawn for all rounds but the last, and all lines are measured on the same ones.

    Args:
        data: From `kt.data`, with validation images; or a function of the image size that returns such data, and sizes
            are tried, too.
        time_limit: Seconds; the call ends in time, if one pass over the images with the smallest network does.
        preset: "medium" (two networks, one way), "high" (and two more ways, sizes and a soup of weights) or "best"
            (three networks, six ways, more sizes).
        candidates: A list of names or files for `kt.backbone`, backbones, or functions of the image size (a pair) that
            make one; a dict of them by name. By default the networks whose weights are on this machine, see
            `kt.backbones.on_this_machine`.
        task: A task, or tasks by target; by default those that fit the targets, see `kt.tasks.for_data`.
        run_dir: A folder for the lines of the leaderboard and their weights: a search that was stopped goes on there.
        seed: Of weights and orders.
        verbose: 0 prints nothing; 1 prints a line for each run.

    Returns:
        The trained model and a `Leaderboard`.

    Raises:
        InputError: If something cannot work, or no network makes one pass over the images in time.

    Example:
        >>> import keras_transfer as kt
        >>> images = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype="uint8")
        >>> data = kt.data.from_arrays(images, ["a", "b"] * 10, validation=0.2)
        >>> model, leaderboard = auto(data, time_limit=5, preset="medium", candidates=["tiny"], verbose=0)
        >>> leaderboard["best"]["network"]
        'tiny'
    """
    time_limit = checks.number(time_limit, name="time_limit", above=0)
    chosen = lookup.find(preset, PRESETS, argument="preset")
    checks.integer(seed, name="seed", minimum=0, below=checks.SEEDS)
    checks.choice(verbose, (0, 1), name="verbose")
    networks = read(candidates)
    search = _Search(data, time_limit, chosen, networks, task, seed=seed, note=_noter(verbose))
    with contextlib.ExitStack() as stack:
        folder = run_dir
        if folder is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
        search.open(folder, about={"preset": preset})
        with trials.without_advice():
            return search.find()


def _noter(verbose: int) -> Callable[[str], object]:
    return checks.note if verbose else (lambda text: text)


@dataclasses.dataclass(frozen=True)
class _Entry:
    """A network at an image size."""

    network: Network
    size: tuple[int, int]

    @property
    def name(self) -> str:
        side = "x".join(map(str, dict.fromkeys(self.size)))
        return f"{self.network.name} at {side}"


class _Search:
    """One search: its clock, its lines and the weights of each."""

    def __init__(
        self,
        data: Any,
        time_limit: float,
        preset: Preset,
        networks: Sequence[Network],
        task: tasks.Task | Mapping[str, tasks.Task] | None,
        *,
        seed: int,
        note: Callable[[str], object],
    ) -> None:
        self.time_limit, self.preset, self.seed, self.note = time_limit, preset, seed, note
        self._begin, self._before = time.monotonic(), 0.0
        self._source: Any = data if callable(data) else None
        self._data: dict[tuple[int, int], Any] = {}
        self._few: dict[tuple[int, int], Any] = {}
        sizes = [checks.image_size(side) for side in preset.sizes]
        if self._source is None:
            sizes = [_check_data(data).image_size]
            self._data = {sizes[0]: data}
        self.entries = [_Entry(each, size) for size in sizes for each in networks]
        first = self.data_of(sizes[0])
        self.task = tasks.for_data(first) if task is None else task
        for each in self.task.values() if isinstance(self.task, Mapping) else [self.task]:
            tasks.require(each)
        self.score = _score_of(self.task)
        self.skipped: list[dict] = []
        self._fresh: keras.Model | None = None  # the model of the last line, after a full run
        self._trunks: dict[_Entry, InitialWeights] = {}

    # Time.

    @property
    def spent(self) -> float:
        """Seconds that are gone."""
        return self._before + time.monotonic() - self._begin

    @property
    def left(self) -> float:
        """Seconds that runs may still take."""
        return self.time_limit * (1 - RESERVE) - self.spent

    # What is trained.

    def data_of(self, size: tuple[int, int]) -> Any:
        """Returns the data with images of a size."""
        if size not in self._data:
            self._data[size] = _check_data(self._source(size))
        return self._data[size]

    def few_of(self, size: tuple[int, int]) -> Any:
        """Returns what all rounds but the last train on, and what every line is measured on."""
        if size not in self._few:
            data = self.data_of(size)
            total = sum(len(data.examples[split]) for split in ("train", "validation"))
            if total > SCREENED:
                self.note(f"{SCREENED:,} of {total:,} images are drawn for all rounds but the last")
                data = data.sample(SCREENED, seed=self.seed)
            self._few[size] = data
        return self._few[size]

    def model_of(self, entry: _Entry) -> keras.Model:
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

    # The search.

    def find(self) -> tuple[keras.Model, Leaderboard]:
        """Runs the rounds and returns the best model and the leaderboard."""
        leaders = self._fit_heads()
        leader = self._compare_networks(leaders[: self.preset.networks])
        way = self._compare_ways(leader)
        model = self._train_fully(leader, way)
        if self.preset.has_soup:
            self._cook_soup(leader)
        best = rank(self.lines, self.score)[0]
        model, is_refit = self._deliver(best, model)
        about = {
            "time_limit": self.time_limit,
            "seconds": round(self.spent, 1),
            "refit": is_refit,
            "candidates": [entry.name for entry in self.entries],
        }
        return model, Leaderboard(self.lines, self.score, skipped=self.skipped, about=about)

    def _fit_heads(self) -> list[_Entry]:
        """Fits a head for each network; returns the networks, best first.

        The largest comes first: it is the best more often than not, and the time may not be enough for all.
        """
        found: dict[str, _Entry] = {}
        budget = HEADS * self.left
        end = self.spent + budget
        for entry in self._by_size():
            if found and self.spent >= end:
                self._skip(entry.name, "no time was left for it")
                continue
            share = max(end - self.spent, budget / len(self.entries))
            if not solved_head.can_be_solved(self.model_of(entry)):  # a head on maps is trained
                share = budget / len(self.entries)
            line = self._run(entry, "head only", HEAD, share)
            if line is not None:
                found[line["arm"]] = entry
        if not found:
            raise checks.error(
                "`time_limit` must be enough for one pass over the images with one of the candidates",
                given="; ".join(f"{each['name']}: {each['why']}" for each in self.skipped),
            )
        ranked = rank([line for line in self.lines if line["arm"] in found], self.score)
        best = ranked[0]["score"]
        return [found[line["arm"]] for line in ranked if self._is_near(line["score"], best)]

    def _is_near(self, score: float, best: float) -> bool:
        """Whether fine-tuning might still make a network the best whose head has such a score."""
        if self.score.is_share:
            return self.score.sign * (best - score) <= GAP
        if self.score.higher_is_better:
            return score >= best - abs(best)
        return score <= best * FACTOR

    def _by_size(self) -> list[_Entry]:
        """Returns the entries that can be built, the one with the most work for an image first."""
        costs: dict[_Entry, float] = {}
        for entry in self.entries:
            try:
                parameters = self.model_of(entry).count_params()
            except checks.InputError as refused:
                self._skip(entry.name, checks.first_line(refused))
                continue
            costs[entry] = parameters * float(np.prod(entry.size))
        return sorted(costs, key=lambda entry: -costs[entry])

    def _compare_networks(self, leaders: Sequence[_Entry]) -> _Entry:
        """Fine-tunes several networks for a short time, and returns the best."""
        if len(leaders) == 1:
            return leaders[0]
        found: dict[str, _Entry] = {}
        budget = NETWORKS * self.left / len(leaders)
        if not self._is_worth(leaders, budget):
            return leaders[0]
        for entry in leaders:
            line = self._run(entry, "default", SHORT, budget)
            if line is not None:
                found[line["arm"]] = entry
        if not found:
            return leaders[0]
        best = rank([line for line in self.lines if line["arm"] in found], self.score)[0]
        return found[best["arm"]]

    def _is_worth(self, entries: Sequence[_Entry], seconds: float) -> bool:
        """Whether runs of so many seconds say something: a head alone, one pass over the images, takes half as long."""
        names = {f"{entry.name}: head only ({HEAD})" for entry in entries}
        needed = 2 * max(line["seconds"] for line in self.lines if line["arm"] in names)
        if needed > seconds:
            self.note(
                f"no short runs: they would need {needed:.0f} s each, and have {seconds:.0f} s"
            )
        return needed <= seconds

    def _compare_ways(self, entry: _Entry) -> str:
        """Trains the best network in several ways for a short time, and returns the best way."""
        ways = list(self.preset.variations)
        if len(ways) == 1:
            return ways[0]
        budget = WAYS * self.left / len(ways)
        if not self._is_worth([entry], budget):
            return ways[0]
        found: dict[str, str] = {}
        for way in ways:
            line = self._run(entry, way, SHORT, budget)
            if line is not None:
                found[line["arm"]] = way
        if not found:
            return ways[0]
        best = rank([line for line in self.lines if line["arm"] in found], self.score)[0]
        return found[best["arm"]]

    def _train_fully(self, entry: _Entry, way: str) -> keras.Model | None:
        """Trains the best network in the best way for the rest of the time; returns it, if it was trained now."""
        own = [line for line in self.lines if line["network"] == entry.network.name]
        seconds = max(line["measured_seconds"] for line in own)
        soup = 2 * (len(own) + 1) * seconds if self.preset.has_soup else 0.0
        self._run(entry, way, FULL, self.left - seconds - soup)
        return self._fresh

    def _run(self, entry: _Entry, way: str, round_name: str, seconds: float) -> dict | None:
        """Trains and measures one line, unless it is there already; returns None for one that cannot be."""
        name = f"{entry.name}: {way} ({round_name})"
        for line in self.lines:
            if line["arm"] == name:
                return line
        if seconds <= 0:
            self._skip(name, "no time was left for it")
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
        except checks.InputError as refused:
            self._skip(name, checks.first_line(refused))
            return None
        after_refit = None
        if getattr(history, "before_refit", None) is not None:
            after_refit = model.get_weights()
            model.set_weights(history.before_refit)
        line = self._measure(model, few, history)
        line |= {
            "arm": name,
            "seed": self.seed,
            "network": entry.network.name,
            "size": list(entry.size),
            "way": way,
            "round": round_name,
            "seconds": round(time.monotonic() - begin, 2),
            "is_refit": after_refit is not None,
        }
        self._keep(line, model)
        if after_refit is not None:
            model.set_weights(after_refit)
            self._write(line, model, suffix="refit")
        self._fresh = model if round_name == FULL else None
        return line

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

    def _measure(self, model: keras.Model, data: Any, history: Any) -> dict:
        """Returns score, interval, loss, size, and how long measuring took."""
        begin = time.monotonic()
        logs = _logs_of_best(history)
        value, bounds = logs.get(criteria.ERROR), None
        if not isinstance(self.task, Mapping):
            report = evaluation.evaluate(
                model, data.validation, task=None, max_mistakes=0, verbose=0
            )
            value = report[self.score.name]
            bounds = report.to_dict().get("intervals", {}).get(self.score.name)
        worst = -self.score.sign * float("inf")
        return {
            "score": worst if value is None or not np.isfinite(value) else float(value),
            "interval": bounds,
            "loss": _finite(logs.get("val_loss")),
            "parameters": int(model.count_params()),
            "measured_seconds": round(time.monotonic() - begin, 2),
        }

    def _keep(self, line: dict, model: keras.Model) -> None:
        """Adds a line, and writes its weights."""
        self._write(line, model)
        line["spent"] = round(self.spent, 2)
        self.rows.add(line)
        value = self.score.text(line["score"])
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

    def _cook_soup(self, entry: _Entry) -> None:
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
            self._skip(name, "no time was left for it")
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
        history = _Logs(logs)
        line = self._measure(model, data, history)
        line |= {
            "arm": name,
            "seed": self.seed,
            "network": entry.network.name,
            "size": list(entry.size),
            "way": f"soup of {len(result.used)} runs",
            "round": SOUP,
            "seconds": round(time.monotonic() - begin, 2),
            "is_refit": False,
        }
        self._keep(line, model)

    def _deliver(self, best: Mapping, model: keras.Model | None) -> tuple[keras.Model, bool]:
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

    def _load(self, model: keras.Model, files: list[str], **options: Any) -> training.SoupResult:
        """Puts weights, or a soup of several, into a model."""
        return training.soup(files, model=model, **options)

    def _choose_thresholds(self, model: keras.Model, data: Any) -> None:
        """Chooses what a task keeps beside its weights."""
        if any(output.task.calibrates for output in marks.outputs(model).values()):
            calibrating.choose(model, data.validation)

    def _skip(self, name: str, why: str) -> None:
        self.skipped.append({"name": name, "why": why.rstrip(".")})
        self.note(f"not tried: {name} ({why.rstrip('.')})")


class _Logs:
    """The logs of a model that no run trained, in the form of a history."""

    def __init__(self, logs: Mapping[str, float]) -> None:
        self.history = {name: [value] for name, value in logs.items()}
        self.epoch = [0]
        self.record = {"best_epoch": 0, "best_stage": 0, "stages": []}


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
