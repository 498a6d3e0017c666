"""Several runs on one page: their scores, what was asked for differently, and their curves."""

import itertools
import json
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any  # scores and arguments are any plain values

import matplotlib
import numpy as np
from matplotlib import ticker
from matplotlib.figure import Figure

from keras_transfer.core import checks
from keras_transfer.pages import columns, document, plots, record
from keras_transfer.pages.document import escape

__all__ = ["RunComparison", "compare_runs"]

LARGEST = 50_000_000  # bytes of a file that is read
STYLES = ("-", (0, (5, 2)), (0, (1, 1)), (0, (5, 1, 1, 1)))
OF_THE_FOLDER = (
    "out",
    "overwrite",
    "resume",
    "quiet",
    "run_dir",
)  # differ always and change nothing


def compare_runs(folders: Iterable[str | os.PathLike]) -> "RunComparison":
    """Compares runs by what they left in their folders: scores, arguments and curves.

    Args:
        folders: Of two or more runs, with `report.json` and `run.json` in them.

    Returns:
        What prints as a table, and saves as a page or as JSON.

    Raises:
        InputError: If a folder has no report, or there are fewer than two.

    Example:
        >>> folders = []
        >>> for name, accuracy in (("a", 0.5), ("b", 0.75)):
        ...     folder = pathlib.Path("/tmp/doc_example_runs") / name
        ...     folder.mkdir(parents=True, exist_ok=True)
        ...     report = {"kind": "classification", "accuracy": accuracy, "about": {}}
        ...     _ = (folder / "report.json").write_text(json.dumps(report))
        ...     folders.append(folder)
        >>> print(compare_runs(folders))
                  a      b
        accuracy  0.500  0.750
    """
    if isinstance(folders, str | os.PathLike):
        raise checks.error("`folders` must be a list of folders", given=repr(str(folders)))
    paths = [pathlib.Path(folder) for folder in folders]
    if len(paths) < 2:
        raise checks.error("`folders` must be two or more", given=len(paths))
    if len(set(paths)) < len(paths):
        twice = next(path for path in paths if paths.count(path) > 1)
        raise checks.error("`folders` must all differ", given=f"'{twice}' more than once")
    runs = {}
    for path, name in zip(paths, _short_names(paths), strict=True):
        report = _read(path / "report.json")
        about = report.pop("about", {})
        run = _read(path / "run.json") if (path / "run.json").is_file() else {}
        trained = {**(about.get("training") or {}), **run}
        runs[name] = {"folder": str(path), "report": report, "about": about, "run": trained}
    return RunComparison(runs)


class RunComparison(record.Record):
    """The scores of several runs: prints as a table, saves as one self-contained page or as JSON.

    `comparison["scores"]` has a number for each score and run, `comparison["differences"]` the arguments that differ.

    Args:
        runs: By name: `folder`, `report` (its scores), `about` (its facts), `run` (its record).
    """

    def __init__(self, runs: Mapping[str, Mapping]) -> None:
        self._runs = runs
        values = {
            "runs": {name: run["folder"] for name, run in runs.items()},
            "scores": _scores(runs),
            "intervals": _intervals(runs),
            "cost": {name: _cost(run) for name, run in runs.items()},
            "differences": _differences(runs),
        }
        super().__init__({**values, "notes": _notes(runs, values["scores"])})

    def __str__(self) -> str:
        names = list(self["runs"])
        rows = [["", *names]]
        for title, numbers in self["scores"].items():
            rows.append([title, *(document.number(numbers.get(name)) for name in names)])
        for argument, values in self["differences"].items():
            rows.append([argument, *(document.text(values.get(name)) for name in names)])
        lines = columns.align(rows, left=range(len(names) + 1))
        return "\n".join([*lines, *self["notes"]])

    def to_html(self) -> str:
        """Returns a page that needs nothing outside itself."""
        names = list(self["runs"])
        notes = "".join(f"<p>{escape(note)}</p>" for note in self["notes"])
        parts = {
            "Scores": notes + _score_table(names, self["scores"], self["intervals"]),
            "What differs": _plain_table("Arguments", names, self["differences"]),
            "Cost": _plain_table("Cost", names, _turned(self["cost"])),
            "Curves": _curves(self._runs),
        }
        return document.render(
            "Comparison of runs", parts, subtitle=" · ".join(names), values=self.to_dict()
        )


def _read(path: pathlib.Path) -> dict:
    """Returns what a run wrote."""
    fix = "Name folders that `keras-transfer train` wrote; `keras-transfer report` writes a lost report again."
    if not path.is_file():
        expected = f"a run's folder must hold {path.name}"
        raise checks.error(expected, given=f"'{path.parent}'", fix=fix)
    if path.stat().st_size > LARGEST:
        raise checks.error(f"{path.name} must be below {LARGEST / 1e6:.0f} MB", given=f"'{path}'")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as wrong:
        raise checks.error(f"{path.name} must be JSON", given=f"'{path}' ({wrong})") from wrong
    if not isinstance(values, dict):
        raise checks.error(f"{path.name} must hold an object", given=type(values).__name__)
    return values


def _short_names(paths: Sequence[pathlib.Path]) -> list[str]:
    """Returns the folders' own names, or whole paths where these are the same."""
    names = [path.resolve().name for path in paths]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]


def _by_task(report: Mapping) -> dict[str, Mapping]:
    """Returns the scores of each task of a report; the name of a single one is ""."""
    if "kind" in report:
        return {"": report}
    return {name: scores for name, scores in report.items() if isinstance(scores, Mapping)}


def _scores(runs: Mapping[str, Mapping]) -> dict[str, dict[str, float]]:
    """Returns by title of a score the number of each run that has it."""
    table: dict[str, dict[str, float]] = {}
    for name, run in runs.items():
        for task, scores in _by_task(run["report"]).items():
            for key, value in scores.items():
                if isinstance(value, float):
                    table.setdefault(f"{task} {key}".strip(), {})[name] = value
    return table


def _intervals(runs: Mapping[str, Mapping]) -> dict[str, dict[str, list[float]]]:
    table: dict[str, dict[str, list[float]]] = {}
    for name, run in runs.items():
        for task, scores in _by_task(run["report"]).items():
            for key, bounds in (scores.get("intervals") or {}).items():
                table.setdefault(f"{task} {key}".strip(), {})[name] = bounds
    return table


def _cost(run: Mapping) -> dict[str, Any]:
    trained, model = run["run"], run["about"].get("model") or {}
    energy = trained.get("energy") or {}
    facts = {
        "seconds": trained.get("seconds"),
        "processor seconds": trained.get("processor_seconds"),
        "watt hours": energy.get("watt_hours"),
        "parameters": model.get("parameters"),
        "megabytes": model.get("megabytes"),
        "images per second": (run["about"].get("speed") or {}).get("images_per_second"),
    }
    return {name: value for name, value in facts.items() if value is not None}


def _differences(runs: Mapping[str, Mapping]) -> dict[str, dict[str, Any]]:
    """Returns the arguments that are not the same in all runs, by name."""
    asked = {}
    for name, run in runs.items():
        trained = run["run"]
        asked[name] = {
            **(trained.get("arguments") or {}),
            **(trained.get("command") or {}),
            "network": (trained.get("source") or {}).get("name"),
            "images of training": trained.get("examples"),
        }
    every = dict.fromkeys(itertools.chain.from_iterable(asked.values()))
    table = {}
    for key in every:
        values = {name: arguments.get(key) for name, arguments in asked.items()}
        texts = {json.dumps(value, sort_keys=True) for value in values.values()}
        if len(texts) > 1 and key not in OF_THE_FOLDER:
            table[key] = values
    return table


def _notes(runs: Mapping[str, Mapping], scores: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Returns sentences on whether the runs can be compared."""
    notes = []
    measured = {_measured_on(run) for run in runs.values()}
    if len(measured) > 1:
        notes.append(
            "The runs were not measured on the same images: their scores cannot be compared."
        )
    elif len({_seed(run) for run in runs.values()}) > 1:
        notes.append(
            "The images were split with different seeds: unless test images had a folder of their own, the runs were "
            "measured on different ones."
        )
    missing = [title for title, numbers in scores.items() if len(numbers) < len(runs)]
    if missing:
        notes.append(f"Not every run has these scores: {', '.join(missing)}.")
    return notes


def _measured_on(run: Mapping) -> tuple:
    data = run["about"].get("data") or {}
    return data.get("digest"), data.get("split"), data.get("examples")


def _seed(run: Mapping) -> Any:
    return (run["about"].get("data") or {}).get("seed")


def _turned(table: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Returns a dict by column of dicts by row, as one by row of dicts by column."""
    turned: dict[str, dict[str, Any]] = {}
    for column, values in table.items():
        for row, value in values.items():
            turned.setdefault(row, {})[column] = value
    return turned


def _score_table(
    names: Sequence[str],
    scores: Mapping[str, Mapping[str, float]],
    intervals: Mapping[str, Mapping[str, Sequence[float]]],
) -> str:
    """Returns the scores with their intervals, as HTML."""
    rows = []
    for title, numbers in scores.items():
        cells = []
        for name in names:
            bounds = intervals.get(title, {}).get(name)
            between = " ({} to {})".format(*map(document.number, bounds)) if bounds else ""
            cells.append(f"{document.number(numbers.get(name))}{between}")
        rows.append((title.replace("_", " "), *cells))
    table = document.table("In brackets: the 95 % interval.", ["score", *names], rows)
    return document.box("Scores of each run", table)


def _plain_table(title: str, names: Sequence[str], values: Mapping[str, Mapping[str, Any]]) -> str:
    rows = []
    for key, by_run in values.items():
        rows.append((key.replace("_", " "), *(by_run.get(name) for name in names)))
    return document.box(title, document.table("", ["", *names], rows)) if rows else ""


def _curves(runs: Mapping[str, Mapping]) -> str:
    """Returns a figure of each validation curve with a line a run, as HTML."""
    histories = {name: run["about"].get("history") or {} for name, run in runs.items()}
    measured = [key for history in histories.values() for key in history if key.startswith("val_")]
    boxes = []
    for number, key in enumerate(dict.fromkeys(measured)):
        title = f"Validation {key.removeprefix('val_').replace('_', ' ')}"
        lines = {name: history[key] for name, history in histories.items() if key in history}
        picture = plots.svg(_draw(lines), name=f"runs-{number}", label=f"{title} of each run")
        boxes.append(document.box(title, f"<figure>{picture}</figure>"))
    return f'<div class="pair">{"".join(boxes)}</div>' if boxes else ""


@matplotlib.rc_context(plots.STYLE)
def _draw(lines: Mapping[str, Sequence[float | None]]) -> Figure:
    figure, axes = plots.canvas((4.6, 3.0))
    colours = itertools.cycle((plots.COLOURS["first"], plots.COLOURS["second"]))
    for (name, values), colour, style in zip(
        lines.items(), colours, itertools.cycle(STYLES), strict=False
    ):
        epochs = np.arange(len(values)) + 1
        numbers = np.array(values, "float64")
        axes.plot(epochs, numbers, color=colour, linestyle=style, marker="o", ms=3, label=name)
    axes.grid(axis="y", linewidth=0.8)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
    figure.legend(loc="outside lower center", ncols=3)
    return figure
