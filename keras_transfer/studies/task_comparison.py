"""The result of training tasks together and apart: differences, verdicts, a suggestion, a page."""

import datetime
from collections.abc import Mapping, Sequence

import numpy as np

from keras_transfer import tasks
from keras_transfer.pages import columns, document, plots, record
from keras_transfer.studies import pictures, relatedness, statistics

__all__ = ["TaskComparison"]

JOINT = "joint"  # the arm that trains all tasks; each other arm has its task's name
HEADING = ("task", "score", "alone", "together", "gain", "95 % interval", "transfer")


class TaskComparison(record.Record):
    """Joint training against a model for each task: a mapping that prints as a table and saves as a page or as JSON.

    - `["tasks"][name]`: `score` (its name), `joint` and `single` (means over seeds), `seeds` (both by seed),
      `gain` (how much better together, in the score's unit; positive is better), `interval` (95 %, of the gains at
      each seed; None for one seed, and where no score differs from seed to seed), `verdict`: "positive" or "negative"
      where the interval leaves out 0, else "neutral".
    - `["delta"]`: mean over tasks of the gain in percent of the single model's score; its `interval` and `verdict`.
    - `["similarity"]`: cosines between the tasks' gradients, a dict of dicts; None where nothing was compared.
    - `["groups"]`: which tasks to train together.
    - `["seconds"]`: time of the joint training, and of all others together; means over seeds.

    Args:
        task: The tasks by name.
        rows: A dict for each training: `arm` ("joint" or a task), `seed`, `scores`, `seconds`, `similarity`.
        about: What else the record should hold, as values that JSON knows.

    Example:
        >>> import keras_transfer as kt
        >>> kinds = {"kind": kt.tasks.Classification(2), "age": kt.tasks.Regression()}
        >>> scores = {"joint": {"kind": 0.9, "age": 2.0}, "kind": {"kind": 0.8}, "age": {"age": 2.5}}
        >>> rows = [{"arm": arm, "seed": 0, "scores": own, "seconds": 1.0} for arm, own in scores.items()]
        >>> round(TaskComparison(kinds, rows)["delta"]["percent"], 2)
        16.25
    """

    def __init__(
        self, task: Mapping[str, tasks.Task], rows: Sequence[Mapping], about: Mapping | None = None
    ) -> None:
        seeds = sorted({row["seed"] for row in rows})
        by_arm = {(row["arm"], row["seed"]): row for row in rows}
        joint = [by_arm[JOINT, seed] for seed in seeds]
        by_task, percents = {}, []
        for name, one in task.items():
            together = np.array([row["scores"][name] for row in joint])
            alone = np.array([by_arm[name, seed]["scores"][name] for seed in seeds])
            by_task[name], percent = _compare(one, together, alone)
            percents.append(percent)

        mean_percents = np.mean(percents, axis=0)
        similarity = statistics.mean_table([row.get("similarity") for row in joint])
        seconds_apart = []
        for seed in seeds:
            seconds = [by_arm[name, seed]["seconds"] for name in by_task]
            seconds_apart.append(sum(seconds))
        created = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        values = {
            "tasks": by_task,
            "delta": {
                "percent": float(mean_percents.mean()),
                **statistics.judge(mean_percents),
            },
            "similarity": similarity and _name_cells(similarity, list(task)),
            "groups": _groups(by_task, similarity),
            "seconds": {
                "joint": float(np.mean([row["seconds"] for row in joint])),
                "apart": float(np.mean(seconds_apart)),
            },
            "about": {"seeds": seeds, "created": created, **(about or {})},
        }
        super().__init__(values)

    def __repr__(self) -> str:
        verdicts = ", ".join(f"{name}: {each['verdict']}" for name, each in self["tasks"].items())
        return f"TaskComparison({verdicts})"

    def __str__(self) -> str:
        lines = columns.align([HEADING, *self._rows()], left=(0, 1))
        return "\n".join([*lines, *self.conclusions()])

    def conclusions(self) -> list[str]:
        """Returns the conclusions, in sentences."""
        delta, seconds = self["delta"], self["seconds"]
        better = "better" if delta["percent"] >= 0 else "worse"
        interval = ""
        if delta["interval"]:
            interval = f" (95 %: {statistics.print_interval(delta['interval'], '{:+.1f}')})"
        groups = [", ".join(names) for names in self["groups"]]
        if len(groups) == 1:
            suggestion = f"suggestion: one trunk for {groups[0]}"
        else:
            suggestion = f"suggestion: a trunk for each of {' | '.join(groups)}"
        return [
            f"together is {abs(delta['percent']):.1f} % {better} on average over tasks{interval}: {delta['verdict']}",
            f"{seconds['joint']:.0f} s together, {seconds['apart']:.0f} s apart",
            suggestion,
        ]

    def to_html(self) -> str:
        """Returns a page that needs nothing outside itself."""
        items = "".join(f"<li>{document.escape(line)}</li>" for line in self.conclusions())
        caption = "Means over seeds; a positive gain is better together, whatever the score."
        gains = plots.svg(
            pictures.gains(self["tasks"]), name="gains", label="Gain of each task, in percent"
        )
        boxes = [document.box("Together against alone", f"<figure>{gains}</figure>")]
        if self["similarity"]:
            boxes.append(self._similarity_box())
        transfer = [
            document.box("What it comes to", f'<ul class="notes">{items}</ul>'),
            document.box("Each task", document.table(caption, HEADING, self._rows())),
            f'<div class="pair">{"".join(boxes)}</div>',
        ]

        about = self["about"]
        settings = [
            (name.replace("_", " "), each) for name, each in about.items() if each is not None
        ]
        run = document.box("How it was done", document.table("", ("", ""), settings))
        created = about["created"][:16].replace("T", " ")
        return document.render(
            "Together or apart?",
            {"Transfer": "".join(transfer), "Run": run},
            subtitle=f"{len(self['tasks'])} tasks · {columns.count(about['seeds'], 'seed')} · {created}",
            values=self.to_dict(),
        )

    def _similarity_box(self) -> str:
        cosines = [list(row.values()) for row in self["similarity"].values()]
        picture = plots.svg(
            pictures.similarity(cosines, list(self["tasks"])),
            name="similarity",
            label="Cosine of the gradients of each pair of tasks",
        )
        caption = "Blue: both would move the trunk the same way; red: against each other."
        figure = f"<figure>{picture}<figcaption>{caption}</figcaption></figure>"
        return document.box("How alike the tasks are", figure)

    def _rows(self) -> list[tuple[str, ...]]:
        return [
            (
                name,
                each["score"],
                f"{each['single']:.4g}",
                f"{each['joint']:.4g}",
                f"{each['gain']:+.3g}",
                statistics.print_interval(each["interval"], "{:+.3g}"),
                each["verdict"],
            )
            for name, each in self["tasks"].items()
        ]


def _compare(task: tasks.Task, joint: np.ndarray, single: np.ndarray) -> tuple[dict, np.ndarray]:
    """Compares the scores of a task at each seed; returns the numbers, and the gain in percent at each seed."""
    sign = 1.0 if task.higher_is_better else -1.0
    gains = (joint - single) * sign
    if_zero = np.where(gains == 0, 0.0, np.sign(gains))
    percents = 100 * np.divide(gains, np.abs(single), out=if_zero, where=single != 0)
    values = {
        "score": task.score,
        "higher_is_better": task.higher_is_better,
        "joint": float(joint.mean()),
        "single": float(single.mean()),
        "seeds": {"joint": joint.tolist(), "single": single.tolist()},
        "gain": float(gains.mean()),
        **statistics.judge(gains),
        "percent": float(percents.mean()),
        "percent_interval": statistics.interval(percents),
    }
    return values, percents


def _name_cells(table: Sequence[Sequence], names: Sequence[str]) -> dict[str, dict]:
    rows = [dict(zip(names, row, strict=True)) for row in table]
    return dict(zip(names, rows, strict=True))


def _groups(by_task: Mapping[str, Mapping], similarity: list | None) -> list[list[str]]:
    """Groups tasks by similarity; a task that is worse off together stays on its own."""
    names = list(by_task)
    apart = [name for name in names if by_task[name]["verdict"] == "negative"]
    rest = [name for name in names if name not in apart]
    if not rest:
        groups = []
    elif similarity:
        places = [names.index(name) for name in rest]
        table = np.array(similarity, dtype="float64")[np.ix_(places, places)]
        groups = relatedness.groups(rest, table)
    else:
        groups = [rest]
    return [*groups, *([name] for name in apart)]
