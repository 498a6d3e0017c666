"""What came out of training tasks together and apart: differences, verdicts, a suggestion, a page."""

import datetime
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any  # a mapping of plain values of every kind

import numpy as np
from scipy import stats

from keras_transfer import tasks
from keras_transfer.pages import document, plots
from keras_transfer.studies import pictures, relatedness

__all__ = ["TaskComparison"]

JOINT = "joint"  # the arm of all tasks; the others have their task's name
HEADING = ("task", "score", "alone", "together", "gain", "95 % interval", "transfer")
LEVEL = 0.95  # of all intervals


class TaskComparison(Mapping):
    """Joint training against a model for each task: a mapping that prints as a table and saves as a page or as JSON.

    - `["tasks"][name]`: `score` (its name), `joint` and `single` (means over seeds), `seeds` (both by seed),
      `gain` (how much better together, in the score's unit, positive is better), `interval` (95 %, over the seeds,
      each paired with itself; None for one seed, and where no score differs from seed to seed), `verdict`: "positive"
      or "negative" where the interval leaves out 0, else "neutral".
    - `["delta"]`: mean over tasks of the gain in percent of the single model's score; its `interval` and `verdict`.
    - `["similarity"]`: cosines between the tasks' gradients, a dict of dicts; None where nothing was compared.
    - `["groups"]`: which tasks to train together.
    - `["seconds"]`: of the joint training and of the others together, means over seeds.

    Args:
        task: The tasks by name.
        rows: A dict for each training: `arm` ("joint" or a task), `seed`, `scores`, `seconds`, `similarity`.
        about: Everything else, as plain values.

    Example:
        >>> import keras_transfer as kt
        >>> kinds = {"kind": kt.tasks.Classification(2), "age": kt.tasks.Regression()}
        >>> scores = {"joint": {"kind": 0.9, "age": 2.0}, "kind": {"kind": 0.8}, "age": {"age": 2.5}}
        >>> rows = [{"arm": arm, "seed": 0, "scores": found, "seconds": 1.0} for arm, found in scores.items()]
        >>> round(TaskComparison(kinds, rows)["delta"]["percent"], 2)
        16.25
    """

    def __init__(
        self, task: Mapping[str, tasks.Task], rows: Sequence[Mapping], about: Mapping | None = None
    ) -> None:
        seeds = sorted({row["seed"] for row in rows})
        found = {(row["arm"], row["seed"]): row for row in rows}
        by_task = {name: _of_task(name, each, found, seeds) for name, each in task.items()}
        similarity = _mean([found[JOINT, seed].get("similarity") for seed in seeds])
        percents = np.array([each.pop("percents") for each in by_task.values()]).mean(axis=0)
        moved = max(each.pop("moved") for each in by_task.values())
        self._values = {
            "tasks": by_task,
            "delta": {"percent": float(percents.mean()), **_judged(percents, moved=moved)},
            "similarity": similarity
            and {
                n: dict(zip(task, row, strict=True))
                for n, row in zip(task, similarity, strict=True)
            },
            "groups": _groups(by_task, similarity),
            "seconds": {
                "joint": float(np.mean([found[JOINT, seed]["seconds"] for seed in seeds])),
                "apart": float(
                    np.mean([sum(found[name, seed]["seconds"] for name in task) for seed in seeds])
                ),
            },
            "about": {
                "seeds": seeds,
                "created": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
                **(about or {}),
            },
        }

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"TaskComparison({', '.join(name + ': ' + each['verdict'] for name, each in self['tasks'].items())})"

    def __str__(self) -> str:
        rows = [HEADING, *self._rows()]
        widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
        lines = [
            "  ".join(
                cell.ljust(width) if at < 2 else cell.rjust(width)
                for at, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in rows
        ]
        return "\n".join([*lines, *self.conclusions()])

    def conclusions(self) -> list[str]:
        """What it comes to, in sentences."""
        delta, seconds = self["delta"], self["seconds"]
        better = "better" if delta["percent"] >= 0 else "worse"
        between = f" (95 %: {_between(delta['interval'], '{:+.1f}')})" if delta["interval"] else ""
        lines = [
            f"together is {abs(delta['percent']):.1f} % {better} on average over tasks{between}: {delta['verdict']}",
            f"{seconds['joint']:.0f} s together, {seconds['apart']:.0f} s apart",
        ]
        parts = self["groups"]
        if len(parts) == 1:
            return [*lines, f"suggestion: one trunk for {', '.join(parts[0])}"]
        return [
            *lines,
            "suggestion: a trunk for each of " + " | ".join(", ".join(part) for part in parts),
        ]

    def to_dict(self) -> dict:
        """Returns everything as plain dicts, lists, strings and numbers."""
        return json.loads(self.to_json())

    def to_json(self) -> str:
        """Returns `to_dict()` as JSON text."""
        return json.dumps(self._values, indent=1, ensure_ascii=False)

    def to_html(self) -> str:
        """Returns a page that needs nothing outside itself."""
        told = "".join(f"<li>{document.escape(line)}</li>" for line in self.conclusions())
        caption = "Means over seeds; a positive gain is better together, whatever the score."
        gains = plots.svg(
            pictures.gains(self["tasks"]), name="gains", label="Gain of each task, in percent"
        )
        parts = [
            document.box("What it comes to", f'<ul class="notes">{told}</ul>'),
            document.box("Each task", document.table(caption, HEADING, self._rows())),
        ]
        boxes = [document.box("Together against alone", f"<figure>{gains}</figure>")]
        if self["similarity"]:
            drawn = pictures.similarity(
                [list(row.values()) for row in self["similarity"].values()], list(self["tasks"])
            )
            drawn = plots.svg(
                drawn, name="similarity", label="Cosine of the gradients of each pair of tasks"
            )
            more = "<figcaption>Blue: both would move the trunk the same way; red: against each other.</figcaption>"
            boxes.append(document.box("How alike the tasks are", f"<figure>{drawn}{more}</figure>"))
        parts.append(f'<div class="pair">{"".join(boxes)}</div>')
        about = [
            (name.replace("_", " "), each)
            for name, each in self["about"].items()
            if each is not None
        ]
        run = document.box("How it was done", document.table("", ("", ""), about))
        seeds = len(self["about"]["seeds"])
        subtitle = f"{len(self['tasks'])} tasks · {seeds} seeds · {self['about']['created'][:16].replace('T', ' ')}"
        return document.render(
            "Together or apart?",
            {"Transfer": "".join(parts), "Run": run},
            subtitle=subtitle,
            values=self.to_dict(),
        )

    def _repr_html_(self) -> str:
        source = document.escape(self.to_html())
        return f'<iframe srcdoc="{source}" style="width:100%;height:48rem;border:0" title="Comparison"></iframe>'

    def save(self, path: str | os.PathLike) -> None:
        """Writes the comparison; the file appears complete or not at all.

        Args:
            path: Ends in ".html" or ".json".

        Raises:
            InputError: If the ending is another, or the file cannot be written.
        """
        document.save(path, {".html": self.to_html, ".json": self.to_json})

    def _rows(self) -> list[tuple[str, ...]]:
        return [
            (
                name,
                each["score"],
                f"{each['single']:.4g}",
                f"{each['joint']:.4g}",
                f"{each['gain']:+.3g}",
                _between(each["interval"], "{:+.3g}"),
                each["verdict"],
            )
            for name, each in self["tasks"].items()
        ]


def _of_task(name: str, task: tasks.Task, found: Mapping, seeds: Sequence[int]) -> dict:
    joint = np.array([found[JOINT, seed]["scores"][name] for seed in seeds])
    single = np.array([found[name, seed]["scores"][name] for seed in seeds])
    gains = (joint - single) * (1.0 if task.higher_is_better else -1.0)
    shares = np.divide(
        gains, np.abs(single), out=np.where(gains == 0, 0.0, np.sign(gains)), where=single != 0
    )
    return {
        "score": task.score,
        "higher_is_better": task.higher_is_better,
        "joint": float(joint.mean()),
        "single": float(single.mean()),
        "seeds": {"joint": joint.tolist(), "single": single.tolist()},
        "gain": float(gains.mean()),
        **_judged(gains, moved=bool(np.ptp(joint) or np.ptp(single))),
        "moved": bool(np.ptp(joint) or np.ptp(single)),
        "percent": float(100 * shares.mean()),
        "percent_interval": _interval(100 * shares),
        "percents": 100 * shares,
    }


def _judged(gains: np.ndarray, *, moved: bool) -> dict:
    """The interval and what follows from it; `moved` says whether scores differ from seed to seed at all."""
    interval = _interval(gains)
    if interval is None:
        return {"interval": None, "verdict": "one seed tells nothing"}
    if not moved and gains.any():
        return {"interval": None, "verdict": "equal seeds tell nothing"}
    verdict = "neutral"
    if interval[0] > 0 or interval[1] < 0:
        verdict = "positive" if interval[0] > 0 else "negative"
    return {"interval": interval, "verdict": verdict}


def _interval(values: np.ndarray) -> list[float] | None:
    """Student's interval for the mean of paired differences; None for one."""
    if len(values) < 2:
        return None
    half = (
        stats.t.ppf((1 + LEVEL) / 2, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
    )
    return [float(values.mean() - half), float(values.mean() + half)]


def _between(interval: Sequence[float] | None, form: str) -> str:
    return f"{form.format(interval[0])} to {form.format(interval[1])}" if interval else "–"


def _mean(tables: Sequence[object]) -> list[list[float | None]] | None:
    """The mean of each cell over those tables that have it."""
    tables = [np.array(table, dtype="float64") for table in tables if table]  # None becomes NaN
    if not tables:
        return None
    stacked = np.ma.masked_invalid(np.stack(tables))
    return [
        [None if np.ma.is_masked(cell) else float(cell) for cell in row]
        for row in stacked.mean(axis=0)
    ]


def _groups(by_task: Mapping[str, Mapping], similarity: Any) -> list[list[str]]:
    """By similarity; but a task that is worse off together is on its own."""
    apart = [name for name, each in by_task.items() if each["verdict"] == "negative"]
    rest = [name for name in by_task if name not in apart]
    if similarity and rest:
        places = [list(by_task).index(name) for name in rest]
        parts = relatedness.groups(
            rest, [[similarity[one][other] for other in places] for one in places]
        )
    else:
        parts = [rest] if rest else []
    return [*parts, *([name] for name in apart)]
