"""`kt.auto`: the best model for the time at hand, found by measuring on the user's data."""

import contextlib
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_transfer import tasks
from keras_transfer.core import checks, lookup
from keras_transfer.studies import trials
from keras_transfer.studies.best_in_time.leaderboard import Leaderboard, rank
from keras_transfer.studies.best_in_time.networks import read
from keras_transfer.studies.best_in_time.runs import FULL, HEAD, SHORT, Entry, Runs
from keras_transfer.studies.best_in_time.variations import PRESETS, Preset
from keras_transfer.training.methods import solved_head

__all__ = ["auto"]

# Shares of the time that is left: of all heads, of short runs of several networks, of short runs of several ways.
HEADS, NETWORKS, WAYS = 0.4, 0.25, 0.3
# Networks whose heads are further behind the best are not fine-tuned: in points of a hundred, or as a factor of errors.
GAP, FACTOR = 0.15, 1.5


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
    runs = Runs(data, time_limit, networks, chosen.sizes, task, seed=seed, note=_noter(verbose))
    with contextlib.ExitStack() as stack:
        folder = run_dir
        if folder is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
        runs.open(folder, about={"preset": preset})
        with trials.without_advice():
            return _Search(runs, chosen).find()


def _noter(verbose: int) -> Callable[[str], object]:
    return checks.note if verbose else (lambda text: text)


class _Search:
    """The rounds of one search: which runs are made, and how much time each may take."""

    def __init__(self, runs: Runs, preset: Preset) -> None:
        self.runs, self.preset, self.score = runs, preset, runs.score

    def find(self) -> tuple[keras.Model, Leaderboard]:
        """Runs the rounds and returns the best model and the leaderboard."""
        leaders = self._fit_heads()
        leader = self._compare_networks(leaders[: self.preset.networks])
        way = self._compare_ways(leader)
        model = self._train_fully(leader, way)
        runs = self.runs
        if self.preset.has_soup:
            runs.average(leader)
        best = rank(runs.lines, self.score)[0]
        model, is_refit = runs.deliver(best, model)
        about = {
            "time_limit": runs.time_limit,
            "seconds": round(runs.spent, 1),
            "refit": is_refit,
            "candidates": [entry.name for entry in runs.entries],
        }
        return model, Leaderboard(runs.lines, self.score, skipped=runs.skipped, about=about)

    def _fit_heads(self) -> list[Entry]:
        """Fits a head for each network; returns the networks, best first.

        The largest comes first: it is the best more often than not, and the time may not be enough for all.
        """
        found: dict[str, Entry] = {}
        runs = self.runs
        budget = HEADS * runs.left
        end = runs.spent + budget
        for entry in self._by_size():
            if found and runs.spent >= end:
                runs.skip(entry.name, "no time was left for it")
                continue
            share = max(end - runs.spent, budget / len(runs.entries))
            if not solved_head.can_be_solved(runs.model_of(entry)):  # a head on maps is trained
                share = budget / len(runs.entries)
            line = runs.train(entry, "head only", HEAD, share)
            if line is not None:
                found[line["arm"]] = entry
        if not found:
            raise checks.error(
                "`candidates` must have one that can be built, and `time_limit` be enough for one pass with it",
                given="; ".join(f"{each['name']}: {each['why']}" for each in runs.skipped),
            )
        ranked = rank([line for line in runs.lines if line["arm"] in found], self.score)
        best = ranked[0]["score"]
        return [found[line["arm"]] for line in ranked if self._is_near(line["score"], best)]

    def _is_near(self, score: float | None, best: float | None) -> bool:
        """Whether fine-tuning might still make a network the best whose head has such a score."""
        if score is None or best is None:
            return best is None
        if self.score.is_share:
            return self.score.sign * (best - score) <= GAP
        if self.score.higher_is_better:
            return score >= best - abs(best)
        return score <= best * FACTOR

    def _by_size(self) -> list[Entry]:
        """Returns the entries that can be built, the one with the most work for an image first."""
        costs: dict[Entry, float] = {}
        for entry in self.runs.entries:
            try:
                parameters = self.runs.model_of(entry).count_params()
            except checks.InputError as refused:
                self.runs.skip(entry.name, checks.first_line(refused))
                continue
            costs[entry] = parameters * float(np.prod(entry.size))
        return sorted(costs, key=lambda entry: -costs[entry])

    def _compare_networks(self, leaders: Sequence[Entry]) -> Entry:
        """Fine-tunes several networks for a short time, and returns the best."""
        if len(leaders) == 1:
            return leaders[0]
        found: dict[str, Entry] = {}
        budget = NETWORKS * self.runs.left / len(leaders)
        if not self._is_worth(leaders, budget):
            return leaders[0]
        for entry in leaders:
            line = self.runs.train(entry, "default", SHORT, budget)
            if line is not None:
                found[line["arm"]] = entry
        if not found:
            return leaders[0]
        best = rank([line for line in self.runs.lines if line["arm"] in found], self.score)[0]
        return found[best["arm"]]

    def _is_worth(self, entries: Sequence[Entry], seconds: float) -> bool:
        """Whether runs of so many seconds say something: a head alone, one pass over the images, takes half as long."""
        names = {f"{entry.name}: head only ({HEAD})" for entry in entries}
        needed = 2 * max(line["seconds"] for line in self.runs.lines if line["arm"] in names)
        if needed > seconds:
            self.runs.note(
                f"no short runs: they would need {needed:.0f} s each, and have {seconds:.0f} s"
            )
        return needed <= seconds

    def _compare_ways(self, entry: Entry) -> str:
        """Trains the best network in several ways for a short time, and returns the best way."""
        ways = list(self.preset.variations)
        if len(ways) == 1:
            return ways[0]
        budget = WAYS * self.runs.left / len(ways)
        if not self._is_worth([entry], budget):
            return ways[0]
        found: dict[str, str] = {}
        for way in ways:
            line = self.runs.train(entry, way, SHORT, budget)
            if line is not None:
                found[line["arm"]] = way
        if not found:
            return ways[0]
        best = rank([line for line in self.runs.lines if line["arm"] in found], self.score)[0]
        return found[best["arm"]]

    def _train_fully(self, entry: Entry, way: str) -> keras.Model | None:
        """Trains the best network in the best way for the rest of the time; returns it, if it was trained now."""
        own = [line for line in self.runs.lines if line["network"] == entry.network.name]
        seconds = max(line["measured_seconds"] for line in own)
        soup = 2 * (len(own) + 1) * seconds if self.preset.has_soup else 0.0
        # It begins with a head, too, which no limit ends.
        head = min(line["seconds"] for line in own if line["round"] == HEAD)
        self.runs.train(entry, way, FULL, self.runs.left - seconds - soup, least=head)
        return self.runs.fresh
