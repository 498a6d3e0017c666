"""Figures of a report, drawn without pyplot, and their way into a page as SVG.

Colours are those of `COLOURS`; in the SVG they become CSS variables, so that a page can change them for dark mode.
"""

import io
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn import metrics

__all__ = [
    "COLOURS",
    "STYLE",
    "canvas",
    "confusion",
    "label_counts",
    "precision_lines",
    "precision_recall",
    "reliability",
    "residuals",
    "scatter",
    "svg",
]

COLOURS = {
    "ink": "#1c2431",
    "muted": "#5f6b7e",
    "line": "#d8dee8",
    "band": "#8b95a7",
    "first": "#2563d9",
    "second": "#d2690f",
    "wrong": "#c9342b",
}
STYLE: dict[Any, Any] = {
    "axes.edgecolor": COLOURS["line"],
    "axes.facecolor": "none",
    "axes.grid": False,
    "axes.labelcolor": COLOURS["muted"],
    "axes.labelsize": 9,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": "none",
    "font.family": "DejaVu Sans",  # ships with matplotlib; a page sets its own
    "font.size": 9,
    "grid.color": COLOURS["line"],
    "legend.fontsize": 9,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "svg.fonttype": "none",
    "text.color": COLOURS["ink"],
    "text.parse_math": False,  # a class may be called "$"
    "text.usetex": False,
    "xtick.color": COLOURS["muted"],
    "ytick.color": COLOURS["muted"],
}
CENTRED: dict[str, Any] = {"ha": "center", "va": "center"}
POINTS = 1000  # a scatter with more is thinned out
LABELLED = 100  # a confusion matrix of more classes names every second, third ...
COUNTED = 40  # up to so many classes, the cells of a confusion matrix show counts


@matplotlib.rc_context(STYLE)
def confusion(matrix: Sequence[Sequence[int]], class_names: Sequence[str]) -> Figure:
    """Draws a confusion matrix: the stronger a cell, the larger its share of the row; errors in another colour.

    Args:
        matrix: Counts, one row a true class, one column a predicted class.
        class_names: Labels of rows and columns.

    Example:
        >>> confusion([[3, 1], [0, 4]], ["cat", "dog"]).axes[0].get_xlabel()
        'predicted'
    """
    counts = np.asarray(matrix)
    size = len(counts)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    pixels = np.empty((size, size, 4))
    pixels[..., :3] = matplotlib.colors.to_rgb(COLOURS["wrong"])
    pixels[np.arange(size), np.arange(size), :3] = matplotlib.colors.to_rgb(COLOURS["first"])
    pixels[..., 3] = np.where(counts > 0, 0.16 + 0.84 * shares, 0)  # a single error stays visible
    cell = _cell(size)
    figure = Figure(figsize=(size * cell, size * cell))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(
        pixels, interpolation="none", aspect="auto", extent=(-0.5, size - 0.5, size - 0.5, -0.5)
    )
    axes.spines[:].set_visible(True)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    _class_labels(axes, class_names, cell)
    if size <= LABELLED:
        between = np.arange(size - 1) + 0.5
        for draw in (axes.hlines, axes.vlines):
            draw(between, -0.5, size - 0.5, colors=COLOURS["line"], linewidth=0.5)
    if size <= COUNTED:
        digits = len(str(counts.max(initial=0)))
        letters = min(9.0, 72 * cell / (0.65 * digits + 0.7))  # points
        for (row, column), count in np.ndenumerate(counts):
            if count:
                colour = "white" if pixels[row, column, 3] > 0.6 else COLOURS["ink"]
                axes.text(column, row, f"{count}", color=colour, fontsize=letters, **CENTRED)
    return figure


def _cell(size: int) -> float:
    """Returns the side of a cell in inches: readable labels first, then what fits a desktop's window."""
    if size <= 4:
        return 0.8
    return float(np.clip(5.2 / size, 0.26, 0.52)) if size <= 40 else max(9.3 / size, 0.02)


def _class_labels(axes: Axes, class_names: Sequence[str], cell: float) -> None:
    size = len(class_names)
    step = math.ceil(size / LABELLED)
    names = [name if len(name) <= 24 else f"{name[:23]}…" for name in class_names[::step]]
    rotation, align = (
        (90, "center")
        if size > 40
        else (45, "right")
        if max(map(len, names)) > 3
        else (0, "center")
    )
    style: dict[str, Any] = {"fontsize": min(9, 60 * cell * step)}
    mode = "anchor" if rotation == 45 else "default"
    axes.set_xticks(
        range(0, size, step), names, rotation=rotation, ha=align, rotation_mode=mode, **style
    )
    axes.set_yticks(range(0, size, step), names, **style)
    axes.tick_params(length=0, pad=4)


@matplotlib.rc_context(STYLE)
def scatter(targets: np.ndarray, values: np.ndarray) -> Figure:
    """Draws predicted against true numbers, both of shape (examples,), with the line where they are equal.

    Example:
        >>> scatter(np.arange(3), np.arange(3)).axes[0].get_xlabel()
        'true'
    """
    targets, values = np.asarray(targets, "float64"), np.asarray(values, "float64")
    figure, axes = canvas((4.2, 3.6))
    axes.grid(linewidth=0.8)
    axes.set_axisbelow(True)
    low, high = min(targets.min(), values.min()), max(targets.max(), values.max())
    axes.plot(
        [low, high],
        [low, high],
        color=COLOURS["muted"],
        linewidth=1,
        linestyle=(0, (3, 3)),
        label="predicted = true",
    )
    if len(targets) > POINTS:
        chosen = np.random.default_rng(0).choice(len(targets), POINTS, replace=False)
        targets, values = targets[chosen], values[chosen]
    axes.plot(targets, values, "o", markersize=4, alpha=0.45, mew=0, color=COLOURS["first"])
    axes.set_xlabel("true")
    axes.set_ylabel("predicted")
    axes.legend(loc="upper left")
    return figure


@matplotlib.rc_context(STYLE)
def reliability(rows: Sequence[Mapping[str, float]]) -> Figure:
    """Draws the share of right answers against their confidence; the area of a dot tells how many there are.

    Args:
        rows: `confidence`, `accuracy` and `support` of each bin of confidences.

    Example:
        >>> reliability([{"confidence": 0.9, "accuracy": 0.8, "support": 10}]).axes[0].get_xlabel()
        'confidence'
    """
    figure, axes = canvas((4.2, 3.6))
    axes.grid(linewidth=0.8)
    axes.set_axisbelow(True)
    axes.plot([0, 1], [0, 1], color=COLOURS["muted"], linewidth=1, linestyle=(0, (3, 3)))
    confidences = [row["confidence"] for row in rows]
    accuracies = [row["accuracy"] for row in rows]
    most = max(row["support"] for row in rows)
    sizes = [12 + 150 * row["support"] / most for row in rows]
    axes.plot(confidences, accuracies, color=COLOURS["first"])
    axes.scatter(confidences, accuracies, s=sizes, color=COLOURS["first"], alpha=0.75, linewidths=0)
    axes.set_xlim(0, 1.03)
    axes.set_ylim(0, 1.05)
    axes.set_xlabel("confidence")
    axes.set_ylabel("share that is right")
    return figure


@matplotlib.rc_context(STYLE)
def label_counts(table: Mapping[str, Sequence], *, title: str = "") -> Figure:
    """Draws how many images of each split have each label, as bars beside one another.

    Args:
        table: `splits`, their names, and `rows`: a label with its count in each split.
        title: Of the figure; "" for none.

    Example:
        >>> label_counts({"splits": ["train"], "rows": [["cat", 5], ["dog", 7]]}).axes[0].get_xlabel()
        'images'
    """
    splits, rows = list(table["splits"]), list(table["rows"])[:LABELLED]
    figure, axes = canvas((4.6, max(1.6, 0.3 + 0.26 * len(rows))))
    colours = [COLOURS["first"], COLOURS["second"], COLOURS["band"]]
    height = 0.8 / len(splits)
    for number, split in enumerate(splits):
        places = np.arange(len(rows)) + (number - (len(splits) - 1) / 2) * height
        counts = [row[1 + number] for row in rows]
        axes.barh(places, counts, height=height, color=colours[number % 3], label=split)
    names = [str(row[0]) for row in rows]
    shown = [name if len(name) <= 24 else f"{name[:23]}…" for name in names]
    axes.set_yticks(range(len(rows)), shown)
    axes.invert_yaxis()
    axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
    axes.set_xlabel("images")
    if title:
        axes.set_title(title, fontsize=10)
    figure.legend(loc="outside lower center", ncols=3)
    return figure


@matplotlib.rc_context(STYLE)
def residuals(targets: np.ndarray, values: np.ndarray) -> Figure:
    """Draws the histogram of predicted minus true, both of shape (examples,).

    Example:
        >>> residuals(np.arange(3), np.arange(3)).axes[0].get_xlabel()
        'predicted − true'
    """
    errors = np.asarray(values, "float64") - np.asarray(targets, "float64")
    figure, axes = canvas((4.2, 3.6))
    axes.grid(axis="y", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.hist(
        errors,
        bins=int(np.clip(np.sqrt(len(errors)) * 2, 5, 40)),
        color=COLOURS["first"],
        alpha=0.75,
    )
    axes.axvline(0, color=COLOURS["ink"], linewidth=1, linestyle=(0, (3, 3)))
    axes.yaxis.set_major_locator(ticker.MaxNLocator(integer=True))
    axes.set_xlabel("predicted − true")
    axes.set_ylabel("examples")
    return figure


@matplotlib.rc_context(STYLE)
def precision_recall(curves: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Draws precision against recall of several tags, from dark to light.

    Args:
        curves: By name, whether each example has the tag (NaN where that is not known), and its probability.

    Example:
        >>> precision_recall({"red": (np.array([1, 0]), np.array([0.9, 0.2]))}).axes[0].get_xlabel()
        'recall'
    """
    lines = {}
    for name, (targets, scores) in curves.items():
        known = np.isfinite(targets)
        precision, recall, _ = metrics.precision_recall_curve(targets[known], scores[known])
        lines[name] = recall, precision
    return precision_lines(lines)


@matplotlib.rc_context(STYLE)
def precision_lines(curves: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> Figure:
    """Draws precision against recall, from dark to light.

    Args:
        curves: By name, recalls and the precision at each.

    Example:
        >>> precision_lines({"cat": ([0.0, 1.0], [1.0, 0.5])}).axes[0].get_ylabel()
        'precision'
    """
    figure, axes = canvas((4.2, 3.6))
    axes.grid(linewidth=0.8)
    axes.set_axisbelow(True)
    shades = np.linspace(1, 0.3, max(len(curves), 2))
    for number, (name, (recall, precision)) in enumerate(curves.items()):
        colour = COLOURS["first" if number % 2 == 0 else "second"]
        style = {"color": colour, "alpha": shades[number], "drawstyle": "steps-post"}
        axes.plot(recall, precision, label=name, **style)
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.05)
    axes.set_xlabel("recall")
    axes.set_ylabel("precision")
    if curves:
        figure.legend(loc="outside lower center", ncols=3)
    return figure


def svg(figure: Figure, *, name: str, label: str) -> str:
    """Returns the figure as an `<svg>` element: text as text, colours as CSS variables, nothing outside it needed.

    Args:
        figure: Drawn with `COLOURS`.
        name: Unique in the page; keeps the ids of two figures apart.
        label: What a screen reader says.

    Example:
        >>> svg(residuals(np.arange(3), np.arange(3)), name="errors", label="Errors")[:4]
        '<svg'
    """
    buffer = io.StringIO()
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": name}), warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "Glyph .* missing from", UserWarning
        )  # the browser's fonts have it
        figure.savefig(buffer, format="svg", bbox_inches="tight", pad_inches=0.04, transparent=True)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<style type=\"text/css\">.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(
        r" id=\"[A-Za-z0-9.]+_\d+(_\d+)?\"", "", text
    )  # never referred to, and the same in every figure
    for key, colour in COLOURS.items():
        text = text.replace(colour, f"var(--{key}, {colour})")
    return text.replace("<svg ", f'<svg role="img" aria-label="{_attribute(label)}" ', 1)


def canvas(size: tuple[float, float]) -> tuple[Figure, Axes]:
    """Returns a new figure of a size in inches, and its axes.

    Example:
        >>> float(canvas((4.0, 3.0))[0].get_figwidth())
        4.0
    """
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.add_subplot()


def _attribute(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
