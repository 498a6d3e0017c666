"""Figures of how a training went, over its epochs: the metrics, and what happened block by block."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from keras_transfer.pages import plots

__all__ = ["block_curves", "head_alone", "learning_curves"]

SIZE = 4.6, 3.0  # inches: a phone shows all of it with letters that can be read
LETTERS = 50  # about so many fit above the axes
NAMED = 8  # a legend of more blocks names some of them
FACTOR = "_factor"  # ends the names of what a balancer makes of tasks
FAINTEST = 0.2  # opacity of the lowest block's line; the others lie between it and 1
WEIGHTS: dict[str, Any] = {"color": plots.COLOURS["ink"], "linewidth": 1}
DASHED: dict[str, Any] = {"color": plots.COLOURS["ink"], "linewidth": 1, "linestyle": (0, (3, 3))}
LEVELS = {"chance": (0, (1, 2)), "head alone": (0, (6, 2))}  # styles of lines that no epoch changes


@matplotlib.rc_context(plots.STYLE)
def learning_curves(
    history: Mapping[str, Sequence[float]],
    *,
    epochs: Sequence[int] | None = None,
    stages: Sequence[Mapping] = (),
    best_epoch: int | None = None,
    levels: Mapping[str, Mapping[str, float]] | None = None,
    is_repeated: bool = False,
) -> dict[str, Figure]:
    """Draws each metric of a Keras history over the epochs, training and validation together.

    Epochs are given from 0, as Keras counts, and drawn from 1, as its bars do.

    Args:
        history: Lists by name, as in `History.history`; "val_x" goes with "x".
        epochs: As in `History.epoch`; by default 0, 1, 2 ...
        stages: Dicts with `name` and `epochs`, the first and last epoch, drawn as bands; some have no `epochs`.
        best_epoch: Marked if given.
        levels: By metric, what to draw as lines across all epochs: "chance", "head alone".
        is_repeated: Whether a second run ends the curves, and the model has the weights of its end.

    Returns:
        Figures by metric, the loss first and the learning rate last; then, of a model of several tasks that are
        balanced, "weight of each task".

    Example:
        >>> list(learning_curves({"accuracy": [0.5, 0.8], "val_accuracy": [0.4, 0.6], "loss": [1.0, 0.5]}))
        ['loss', 'accuracy']
    """
    stages = [stage for stage in stages if "epochs" in stage]
    metrics = dict.fromkeys(
        name.removeprefix("val_") for name in history if not name.endswith(FACTOR)
    )
    names = sorted(metrics, key=lambda name: (name == "learning_rate", name != "loss"))
    if epochs is None:
        epochs = range(max(map(len, history.values()), default=0))
    epochs = list(epochs)
    figures = {}
    for name in names:
        figures[name], axes = plots.canvas(SIZE)
        _stage_bands(axes, stages)
        _curve(axes, name, history, epochs, best_epoch)
        if is_repeated and epochs:
            end = epochs[-1] + 1
            axes.axvline(end, label=f"in the model, epoch {end}", **WEIGHTS)
        for label, value in (levels or {}).get(name, {}).items():
            style: dict[str, Any] = {"color": plots.COLOURS["muted"], "linestyle": LEVELS[label]}
            axes.axhline(value, label=f"{label}, {value:.3g}", linewidth=1.3, **style)
        _legend_below(axes)
    factors = [name for name in history if name.endswith(FACTOR)]
    if factors:
        figures["weight of each task"], axes = plots.canvas(SIZE)
        _stage_bands(axes, stages)
        _factors(axes, {name.removesuffix(FACTOR): history[name] for name in factors}, epochs)
    return figures


def _factors(axes: Axes, factors: Mapping[str, Sequence[float]], epochs: list[int]) -> None:
    """Draws what a balancer multiplied each task's loss or gradient by, tasks from dark to light."""
    shades = np.linspace(1, FAINTEST, max(len(factors), 2))
    colours = itertools.cycle((plots.COLOURS["first"], plots.COLOURS["second"]))
    style: dict[str, Any] = {"marker": "o", "ms": 3}
    for (name, values), shade, colour in zip(factors.items(), shades, colours, strict=False):
        places = np.array(epochs[-len(values) :]) + 1
        numbers = np.array(values, dtype="float64")
        axes.plot(places, numbers, color=colour, alpha=shade, label=name, **style)
    axes.axhline(1, **DASHED)
    _epoch_axis(axes, epochs)
    _legend_below(axes)


def _curve(
    axes: Axes, name: str, history: Mapping, epochs: list[int], best_epoch: int | None
) -> None:
    rate = name == "learning_rate"
    lines = [
        (name, "_" if rate else "training", "first"),
        (f"val_{name}", "validation", "second"),
    ]
    for key, label, colour in lines:
        # A loss that was not finite is None in the history and NaN here.
        values = np.array(history.get(key) or [], dtype="float64")
        if not len(values):
            continue
        known = epochs[-len(values) :] if len(values) <= len(epochs) else range(len(values))
        places = np.array(known) + 1
        marker: dict[str, Any] = {"marker": "o", "markersize": 3.5} if len(values) <= 30 else {}
        axes.plot(places, values, color=plots.COLOURS[colour], label=label, **marker)
        if best_epoch is not None and key.startswith("val_"):
            best = places == best_epoch + 1
            ring: dict[str, Any] = {"markersize": 9, "mfc": "none", "mec": plots.COLOURS["ink"]}
            axes.plot(places[best], values[best], "o", **ring)

    if rate and all(value and value > 0 for value in history[name]):
        _logarithmic(axes)
    if best_epoch is not None:
        axes.axvline(best_epoch + 1, label=f"best, epoch {best_epoch + 1}", **DASHED)
    _epoch_axis(axes, epochs)


def _legend_below(axes: Axes) -> None:
    """Puts the legend where it hides nothing."""
    if axes.get_legend_handles_labels()[1]:
        axes.figure.legend(loc="outside lower center", ncols=3)


@matplotlib.rc_context(plots.STYLE)
def block_curves(
    insight: Sequence[Mapping], *, stages: Sequence[Mapping] = ()
) -> dict[str, Figure]:
    """Draws how far each block is from its pretrained weights, and how large its gradient is, over the epochs.

    Scales are logarithmic: a head moves a hundred times as far as a block. A block with no number above 0 has no line.
    Lines go from light to dark as blocks go from the images to the answers; the heads have a colour of their own.

    Args:
        insight: Dicts with `epoch` (from 0) and, where they were watched, `distance` and `gradient`, numbers by block.
        stages: As for `learning_curves`.

    Returns:
        Figures by what was watched.

    Example:
        >>> list(block_curves([{"epoch": 0, "stage": 0, "distance": {"block1": 0.0, "head": 0.1}}]))
        ['distance']
    """
    stages = [stage for stage in stages if "epochs" in stage]
    parts = [entry[kind] for entry in insight for kind in ("distance", "gradient") if kind in entry]
    parts.sort(key=len, reverse=True)
    depth = list(dict.fromkeys(name for part in parts for name in part))
    stage_ends = [epoch for stage in stages for epoch in stage["epochs"]]
    figures = {}
    for kind in ("distance", "gradient"):
        values = {entry["epoch"]: entry[kind] for entry in insight if entry.get(kind)}
        if values:
            figures[kind], axes = plots.canvas(SIZE)
            _stage_bands(axes, stages)
            _blocks(axes, values, depth)
            _epoch_axis(axes, stage_ends or list(values))
    return figures


def _blocks(axes: Axes, values: Mapping[int, Mapping[str, float]], depth: Sequence[str]) -> None:
    """Draws a line a block; one that does not train in some epochs has gaps there."""
    columns = {}
    for name in depth:
        column = np.array([row.get(name) for row in values.values()], dtype="float64")
        column[column <= 0] = np.nan
        if name == "head" or not np.isnan(column).all():
            columns[name] = column

    epochs = np.array(list(values)) + 1
    trunk = [name for name in columns if name != "head"]
    shades = dict(zip(trunk, np.linspace(1, FAINTEST, max(len(trunk), 1))[::-1], strict=False))
    # Dots show an epoch that lies between two gaps.
    style: dict[str, Any] = {"marker": "o", "linewidth": 1.3, "markersize": 1.8}
    lines = {}
    for name, column in columns.items():
        colour = plots.COLOURS["second" if name == "head" else "first"]
        alpha = shades.get(name, 1.0)
        (lines[name],) = axes.plot(epochs, column, label=name, color=colour, alpha=alpha, **style)
    if not all(np.isnan(column).all() for column in columns.values()):
        _logarithmic(axes)

    places = np.linspace(len(trunk) - 1, 0, min(len(trunk), NAMED - 1)).round().astype(int)
    handles = [lines[name] for name in ["head", *np.array(trunk)[places]] if name in lines]
    if handles:
        axes.figure.legend(handles=handles, loc="outside lower center", ncols=3)


def _logarithmic(axes: Axes) -> None:
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    if high < 30 * low:
        axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    # The usual formatter writes powers as formulae.
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_formatter(ticker.NullFormatter())


def _epoch_axis(axes: Axes, epochs: Sequence[int]) -> None:
    axes.grid(axis="y", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xlim(min(epochs, default=0) + 0.5, max(epochs, default=0) + 1.5)
    axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel("epoch")


def _stage_bands(axes: Axes, stages: Sequence[Mapping]) -> None:
    for number, (stage, title) in enumerate(zip(stages, _titles(stages), strict=True)):
        first, last = (epoch + 1 for epoch in stage["epochs"])
        shade = 0.14 if number % 2 else 0.05
        axes.axvspan(first - 0.5, last + 0.5, color=plots.COLOURS["band"], alpha=shade, linewidth=0)
        if title:
            middle, where = (first + last) / 2, axes.get_xaxis_transform()
            colour = plots.COLOURS["muted"]
            axes.text(middle, 1.02, title, transform=where, ha="center", color=colour)


def _titles(stages: Sequence[Mapping]) -> list[str]:
    """Returns the names of the stages; where these overlap, the numbers of all or of every second, third ... stage."""
    letters_per_epoch = LETTERS / (1 + max((stage["epochs"][1] for stage in stages), default=0))
    middles = [sum(stage["epochs"]) / 2 * letters_per_epoch for stage in stages]

    def overlap(titles: Sequence[str]) -> bool:
        end = -np.inf
        for middle, title in zip(middles, titles, strict=True):
            if title and end + 1 > middle - len(title) / 2:
                return True
            end = middle + len(title) / 2 if title else end
        return False

    titles, step = [stage["name"] for stage in stages], 0
    while overlap(titles):
        step += 1
        titles = [""] * len(stages)
        for number in range(0, len(stages), step):
            titles[number] = str(number + 1)
    return titles


def head_alone(
    history: Mapping[str, Sequence], epochs: Sequence[int], stages: Sequence[Mapping]
) -> dict[str, float]:
    """Returns by curve what validation said when the first stage was over, if that trained the head only.

    Args:
        history: Lists by name.
        epochs: Of the lists, from 0.
        stages: Of the run's record.

    Example:
        >>> stages = [{"epochs": [0, 0], "train": "head"}, {"epochs": [1, 1]}]
        >>> head_alone({"val_accuracy": [0.5, 0.75]}, [0, 1], stages)
        {'accuracy': 0.5}
    """
    if len(stages) < 2:
        return {}
    first = stages[0]
    measured: Mapping[str, float | None] = {}
    if "measured" in first:
        measured = first["measured"] or {}
    elif "epochs" in first and ("solved" in first or first.get("train") == "head"):
        last = first["epochs"][1]
        at = list(epochs).index(last) if last in epochs else None
        if at is not None:
            measured = {key: row[at] for key, row in history.items() if len(row) == len(epochs)}
    return {
        key.removeprefix("val_"): value
        for key, value in measured.items()
        if key.startswith("val_") and value is not None
    }
