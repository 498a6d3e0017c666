"""The result of a comparison of arms: means, intervals, tests, costs, learning curves, conclusions, a page."""

import csv
import datetime
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from keras_transfer.pages import columns, document, plots, record
from keras_transfer.studies import pictures, statistics
from keras_transfer.studies.scores import Score

__all__ = ["VALIDATION", "Comparison"]

BYTES = 4  # of a parameter
VALIDATION = "validation images"
DOUBTS = {  # verdict: what is added to a difference
    "neutral": ", which may be chance",
    "one seed tells nothing": ", of one seed",
    "equal seeds tell nothing": ", the same at every seed",
    "not judged": " on average",
}
SAYS = {  # verdict on the last photos of a learning curve: whether more would help
    "positive": "more photos would help",
    "negative": "more photos did not help",
    "neutral": "whether more photos would help cannot be told",
    "one seed tells nothing": "one seed does not say whether more photos would help",
    "equal seeds tell nothing": "seeds that all gain the same do not say whether more photos would help",
    "not judged": "without an interval it is not said whether more photos would help",
}


class Comparison(record.Record):
    """Several ways to a model: a mapping that prints as a table with conclusions, and saves as a page, JSON or CSV.

    - `["arms"][name]`: `seconds` (mean time of a training; what arms share counts for the first), `parameters`, `bytes`
      (of the weights), and `scores`, by task: `mean`, `interval` (of the mean over seeds), `images_interval` (the
      report's 95 %: where the score of other images would lie, mean over seeds), `seeds`, `at_chance` (not better than
      one answer for all images); for all but the reference `gain` (positive is better, in the score's unit),
      `gain_interval`, `p` (of the paired test over seeds) and `verdict`: "positive" or "negative" where the interval
      leaves out 0, else "neutral"; "one seed tells nothing", "equal seeds tell nothing" or "not judged" where there is
      no interval.
    - `["curves"]`: by task and arm the `images`, `mean`, `interval` and `seeds` of each number of labelled images; None
      where there is one number.
    - `["conclusions"]`: sentences.
    - `["reference"]`: the arm that others are compared with.
    - `["rows"]`: every training.

    Args:
        scores: Of each task, by its name.
        rows: A dict for each training: `arm`, `seed`, `of` (None for all labelled images), `images`, `scores`,
            `chance`, `seconds`, `parameters`.
        names: Of the arms, in order.
        reference: Arm that others are compared with; None for the first.
        level: Of the intervals, None for none.
        about: What else the record should hold, as values that JSON knows; `measured_on` is "test images" or
            `VALIDATION`.

    Example:
        >>> accuracy = {"kind": Score("accuracy", "accuracy", True, True)}
        >>> values = {"probe": [0.80, 0.81], "two_stage": [0.85, 0.87]}
        >>> rows = []
        >>> for arm, by_seed in values.items():
        ...     for seed, value in enumerate(by_seed):
        ...         row = {"arm": arm, "seed": seed, "of": None, "images": 9, "seconds": 2.0}
        ...         rows.append({**row, "scores": {"kind": value}, "chance": {}, "parameters": 3})
        >>> comparison = Comparison(accuracy, rows, list(values))
        >>> round(comparison["arms"]["two_stage"]["scores"]["kind"]["gain"], 3)
        0.055
    """

    def __init__(
        self,
        scores: Mapping[str, Score],
        rows: Sequence[Mapping],
        names: Sequence[str],
        *,
        reference: str | None = None,
        level: float | None = statistics.LEVEL,
        about: Mapping | None = None,
    ) -> None:
        self._scores, self._level = dict(scores), level
        reference = names[0] if reference is None else reference
        whole = [row for row in rows if row["of"] is None]
        arms: dict[str, dict] = {}
        for name in names:
            own = [row for row in whole if row["arm"] == name]
            parameters = own[0]["parameters"]
            arms[name] = {
                "seconds": float(np.mean([row["seconds"] for row in own])),
                "parameters": parameters,
                "bytes": parameters and BYTES * parameters,
                "scores": {},
            }
        for task, score in self._scores.items():
            by_arm = {name: _by_seed(whole, name, task) for name in names}
            for name in names:
                own = [row for row in whole if row["arm"] == name]
                chance = [row["chance"].get(task) for row in own]
                cell = {
                    **self._summarise(by_arm[name], score),
                    "images_interval": _mean_bounds(own, task),
                    "at_chance": bool(chance) and all(chance),
                }
                if name != reference:
                    cell |= _compare(score, by_arm[name], by_arm[reference], level)
                arms[name]["scores"][task] = cell

        created = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        seeds = sorted({row["seed"] for row in whole})
        values = {
            "scores": {task: score.name for task, score in self._scores.items()},
            "reference": reference,
            "arms": arms,
            "curves": self._curves(rows, names),
            "rows": [dict(row) for row in rows],
            "about": {"seeds": seeds, "level": level, "created": created, **(about or {})},
        }
        super().__init__(values)
        self._values["conclusions"] = self.conclusions()

    def _summarise(self, values: np.ndarray, score: Score) -> dict:
        interval = None
        if self._level is not None and np.ptp(values):
            interval = statistics.interval(values, level=self._level)
        interval = _possible(interval, score, least=0.0)
        return {"mean": float(values.mean()), "interval": interval, "seeds": values.tolist()}

    def _curves(self, rows: Sequence[Mapping], names: Sequence[str]) -> dict | None:
        if all(row["of"] is None for row in rows):
            return None
        sizes = sorted({row["of"] for row in rows if row["of"] is not None})
        curves: dict[str, dict] = {}
        for task, score in self._scores.items():
            curves[task] = {}
            for name in names:
                points = []
                for size in [*sizes, None]:
                    own = [row for row in rows if row["arm"] == name and row["of"] == size]
                    images = round(float(np.mean([row["images"] for row in own])))
                    values = _by_seed(own, name, task)
                    points.append({"images": images, **self._summarise(values, score)})
                curves[task][name] = points
        return curves

    def __repr__(self) -> str:
        return f"Comparison({', '.join(self['arms'])})"

    def __str__(self) -> str:
        blocks = []
        for task in self._scores:
            blocks += columns.align([self._heading(task), *self._table(task)])
        return "\n".join([*blocks, "", *self["conclusions"]])

    def conclusions(self) -> list[str]:
        """Returns the conclusions, in sentences."""
        lines = []
        for task, score in self._scores.items():
            of = f"{task}: " if len(self._scores) > 1 else ""
            lines += [f"{of}{line}" for line in self._conclude(task, score)]
        if self["about"].get("measured_on") == VALIDATION:
            lines.append(
                "all was measured on the validation images, which may also have chosen epochs and penalties: optimistic"
            )
        return lines

    def _conclude(self, task: str, score: Score) -> list[str]:
        arms, reference = self["arms"], self["reference"]
        others = [name for name in arms if name != reference]
        others.sort(key=lambda name: -arms[name]["scores"][task]["gain"])
        lines = []
        for name in others:
            cell = arms[name]["scores"][task]
            seconds = arms[name]["seconds"] - arms[reference]["seconds"]
            lines.append(_sentence(name, reference, cell, score, seconds))
        for name in arms:
            if arms[name]["scores"][task]["at_chance"]:
                lines.append(f"{name} is at chance: no better than one answer for all images")
        for name, points in ((self["curves"] or {}).get(task) or {}).items():
            lines.append(_more_photos(name, points, score, self._level))
        return lines

    def _heading(self, task: str) -> tuple[str, ...]:
        score = self._scores[task]
        of = f"{task}, " if len(self._scores) > 1 else ""
        unit = ", %" if score.is_share else ""
        level = "interval" if self._level is None else f"{100 * self._level:.4g} % interval"
        return (
            "arm",
            f"{of}{score.title}{unit}",
            level,
            "other images",
            f"gain over {self['reference']}",
            level,
            "p",
            "seconds",
            "parameters",
        )

    def _table(self, task: str) -> list[tuple[str, ...]]:
        """Returns the rows of a task's table, the best arm first."""
        score, arms = self._scores[task], self["arms"]
        order = sorted(arms, key=lambda name: -score.sign * arms[name]["scores"][task]["mean"])
        rows: list[tuple[str, ...]] = []
        for name in order:
            cell, parameters = arms[name]["scores"][task], arms[name]["parameters"]
            gain = "" if "gain" not in cell else score.number(cell["gain"], signed=True)
            p = cell.get("p")
            rows.append(
                (
                    name,
                    score.number(cell["mean"]),
                    _bounds(cell["interval"], score),
                    _bounds(cell["images_interval"], score),
                    gain,
                    _bounds(cell.get("gain_interval"), score, signed=True),
                    "" if p is None else f"{p:.2g}",
                    f"{arms[name]['seconds']:.0f}",
                    "" if parameters is None else f"{parameters:,}",
                )
            )
        return rows

    def to_csv(self) -> str:
        """Returns a line for each training and task."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(
            ["arm", "seed", "images", "task", "score", "value", "seconds", "parameters"]
        )
        for row in self["rows"]:
            for task, value in row["scores"].items():
                facts = (row["arm"], row["seed"], row["images"], task, self["scores"][task], value)
                writer.writerow([*facts, row["seconds"], row["parameters"]])
        return file.getvalue()

    def writers(self) -> dict[str, Callable[[], str]]:
        """Returns what makes the text of a file, by its ending."""
        return {**super().writers(), ".csv": self.to_csv}

    def to_html(self) -> str:
        """Returns a page that needs nothing outside itself."""
        about = self["about"]
        items = "".join(f"<li>{document.escape(line)}</li>" for line in self["conclusions"])
        parts = [document.box("What it comes to", f'<ul class="notes">{items}</ul>')]
        for task in self._scores:
            of = f" of {task}" if len(self._scores) > 1 else ""
            caption = (
                f"Means over {columns.count(about['seeds'], 'seed')}; a positive gain is better. "
                "Other images: where the score on new images is to be expected. "
                "Seconds: what arms share counts for the first that needed it."
            )
            table = document.table(caption, self._heading(task), self._table(task))
            drawn = [_figure(self._draw_arms(task), f"arms-{task}", f"Each arm{of}")]
            if self["curves"]:
                drawn.append(_figure(self._draw_curves(task), f"curve-{task}", f"Learning{of}"))
            parts += [
                document.box(f"Each arm{of}", table),
                f'<div class="pair">{"".join(drawn)}</div>',
            ]

        settings = [(name.replace("_", " "), each) for name, each in about.items() if each]
        run = document.box("How it was done", document.table("", ("", ""), settings))
        created = about["created"][:16].replace("T", " ")
        return document.render(
            "Which way is better?",
            {"Result": "".join(parts), "Run": run},
            subtitle=f"{columns.count(self['arms'], 'arm')} · {columns.count(about['seeds'], 'seed')} · {created}",
            values=self.to_dict(),
        )

    def _draw_arms(self, task: str) -> Any:
        order = [row[0] for row in self._table(task)]
        cells = {name: self["arms"][name]["scores"][task] for name in order}
        return pictures.arms(cells, self._scores[task])

    def _draw_curves(self, task: str) -> Any:
        return pictures.curves(self["curves"][task], self._scores[task])


def _by_seed(rows: Sequence[Mapping], arm: str, task: str) -> np.ndarray:
    own = sorted((row for row in rows if row["arm"] == arm), key=lambda row: row["seed"])
    return np.array([row["scores"][task] for row in own], dtype="float64")


def _mean_bounds(rows: Sequence[Mapping], task: str) -> list[float] | None:
    """Returns the mean of the intervals that the reports gave, None where there are none."""
    bounds = [row.get("intervals", {}).get(task) for row in rows]
    known = [each for each in bounds if each]
    return np.mean(known, axis=0).tolist() if known else None


def _possible(bounds: list[float] | None, score: Score, *, least: float) -> list[float] | None:
    """Returns an interval without what no share, or difference of shares, can be: that of few seeds may be wider."""
    if bounds is None or not score.is_share:
        return bounds
    return [max(least, bounds[0]), min(1.0, bounds[1])]


def _compare(score: Score, values: np.ndarray, others: np.ndarray, level: float | None) -> dict:
    """Returns how much better values are than others at each seed, and what that allows to say."""
    gains = score.sign * (values - others)
    found = statistics.judge(gains, level=level)
    return {
        "gain": float(gains.mean()),
        "gain_interval": _possible(found["interval"], score, least=-1.0),
        "p": None if level is None else statistics.paired_test(gains),
        "verdict": found["verdict"],
    }


def _sentence(name: str, reference: str, cell: Mapping, score: Score, seconds: float) -> str:
    """Returns how an arm compares with the reference, and what it costs."""
    gain = cell["gain"]
    bounds = cell["gain_interval"]
    shown = "" if bounds is None else f" [{score.number(bounds[0])}, {score.number(bounds[1])}]"
    cost = f"for {abs(seconds):.0f} s {'more' if seconds >= 0 else 'less'}"
    size = score.difference(abs(gain))
    if bounds is not None and gain < 0:
        shown = f" [{score.number(-bounds[1])}, {score.number(-bounds[0])}]"
    number, _, unit = size.partition(" ")
    amount = f"{number} {unit}{shown}"
    if not gain and (bounds is None or not any(bounds)):
        return f"{name} is as good as {reference}, {cost}"
    if cell["verdict"] in DOUBTS:
        side = "better" if gain > 0 else "worse"
        return f"{name} is {amount} {side} than {reference}{DOUBTS[cell['verdict']]}, {cost}"
    verb = f"gained {amount} over" if gain > 0 else f"lost {amount} to"
    return f"{name} {verb} {reference} {cost}"


def _more_photos(name: str, points: Sequence[Mapping], score: Score, level: float | None) -> str:
    """Returns whether an arm would gain from more labelled images, by what the last ones gave."""
    before, last = points[-2], points[-1]
    gains = score.sign * (np.array(last["seeds"]) - np.array(before["seeds"]))
    found = statistics.judge(gains, level=level)
    bounds = _possible(found["interval"], score, least=-1.0)
    shown = "" if bounds is None else f" [{score.number(bounds[0])}, {score.number(bounds[1])}]"
    change = (
        f"{score.number(gains.mean(), signed=True)}{' points' if score.is_share else ''}{shown}"
    )
    says = SAYS[found["verdict"]] if gains.any() else "the last photos changed nothing"
    return f"{name}: {says}: from {before['images']} to {last['images']} images {change}"


def _bounds(bounds: Sequence[float] | None, score: Score, *, signed: bool = False) -> str:
    if not bounds:
        return ""
    return " to ".join(score.number(bound, signed=signed) for bound in bounds)


def _figure(drawn: Any, name: str, title: str) -> str:
    picture = plots.svg(drawn, name=document.slug(name), label=title)
    return document.box(title, f"<figure>{picture}</figure>")
