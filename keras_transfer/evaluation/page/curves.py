"""Figures of how a training went, over its epochs: the metrics, and what happened block by block."""

import itertools
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from keras_transfer.pages import plots

__all__ = ["block_curves", "learning_curves"]

SIZE = 5.2, 2.8  # inches
LETTERS = 58  # about so many fit above the axes
NAMED = 8  # a legend of more blocks names some of them
FACTOR = "_factor"  # ends the names of what a balancer makes of tasks
FAINTEST = 0.2  # of the lowest block's line; the others lie between it and 1


@matplotlib.rc_context(plots.STYLE)
def learning_curves(
    history: Mapping[str, Sequence[float]],
    *,
    epochs: Sequence[int] | None = None,
    stages: Sequence[Mapping] = (),
    best_epoch: int | None = None,
) -> dict[str, Figure]:
    """Draws each metric of a Keras history over the epochs, training and validation together.

    Epochs are given from 0, as Keras counts, and drawn from 1, as its bars do.

    Args:
        history: Lists by name, as in `History.history`; "val_x" goes with "x".
        epochs: As in `History.epoch`; by default 0, 1, 2 ...
        stages: Dicts with `name` and `epochs`, the first and last epoch, drawn as bands.
        best_epoch: Marked if given.

    Returns:
        Figures by metric, the loss first and the learning rate last; then, of a model of several tasks that are
        balanced, "weight of each task".

    Example:
        >>> list(learning_curves({"accuracy": [0.5, 0.8], "val_accuracy": [0.4, 0.6], "loss": [1.0, 0.5]}))
        ['loss', 'accuracy']
    """
    names = dict.fromkeys(
        name.removeprefix("val_") for name in history if not name.endswith(FACTOR)
    )
    names = sorted(names, key=lambda name: (name == "learning_rate", name != "loss"))
    epochs = (
        list(range(max(map(len, history.values()), default=0))) if epochs is None else list(epochs)
    )
    figures = {}
    for name in names:
        figures[name], axes = plots.canvas(SIZE)
        _stage_bands(axes, stages)
        _curve(axes, name, history, epochs, best_epoch)
    factors = [name for name in history if name.endswith(FACTOR)]
    if factors:
        figures["weight of each task"], axes = plots.canvas(SIZE)
        _stage_bands(axes, stages)
        _factors(axes, {name.removesuffix(FACTOR): history[name] for name in factors}, epochs)
    return figures


def _factors(axes: Axes, factors: Mapping[str, Sequence[float]], epochs: list[int]) -> None:
    """Draws what a balancer multiplied each task's loss or gradient by, tasks from dark to light."""
    shades = np.linspace(1, FAINTEST, max(len(factors), 2))
    for number, ((name, values), shade) in enumerate(zip(factors.items(), shades, strict=False)):
        shown = np.array(epochs[-len(values) :]) + 1
        colour = plots.COLOURS["first" if number % 2 == 0 else "second"]
        axes.plot(
            shown,
            np.array(values, dtype="float64"),
            color=colour,
            alpha=shade,
            label=name,
            marker="o",
            ms=3,
        )
    axes.axhline(1, color=plots.COLOURS["ink"], linewidth=1, linestyle=(0, (3, 3)))
    _epoch_axis(axes, epochs)
    axes.legend(loc="best", fontsize=8)


def _curve(
    axes: Axes, name: str, history: Mapping, epochs: list[int], best_epoch: int | None
) -> None:
    rate = name == "learning_rate"
    for key, label, colour in (
        (name, "_" if rate else "training", "first"),
        (f"val_{name}", "validation", "second"),
    ):
        values = np.array(
            history.get(key) or [], dtype="float64"
        )  # None, where a loss was not finite, becomes NaN
        shown = (
            np.array(epochs[-len(values) :] if len(values) <= len(epochs) else range(len(values)))
            + 1
        )
        if len(values):
            marker = {"marker": "o", "markersize": 3.5} if len(values) <= 30 else {}
            axes.plot(shown, values, color=plots.COLOURS[colour], label=label, **marker)
            if best_epoch is not None and key.startswith("val_"):
                best = shown == best_epoch + 1
                axes.plot(
                    shown[best],
                    values[best],
                    "o",
                    markersize=9,
                    mfc="none",
                    mec=plots.COLOURS["ink"],
                )
    if rate and all(value and value > 0 for value in history[name]):
        _logarithmic(axes)
    if best_epoch is not None:
        label = f"best, epoch {best_epoch + 1}"
        axes.axvline(
            best_epoch + 1,
            color=plots.COLOURS["ink"],
            linewidth=1,
            linestyle=(0, (3, 3)),
            label=label,
        )
    _epoch_axis(axes, epochs)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(loc="best", fontsize=8)


@matplotlib.rc_context(plots.STYLE)
def block_curves(
    insight: Sequence[Mapping], *, stages: Sequence[Mapping] = ()
) -> dict[str, Figure]:
    """Draws how far each block is from its pretrained weights, and how large its gradient is, over the epochs.

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
    parts = [entry[kind] for entry in insight for kind in ("distance", "gradient") if kind in entry]
    depth = list(
        dict.fromkeys(name for part in sorted(parts, key=len, reverse=True) for name in part)
    )
    figures = {}
    for kind in ("distance", "gradient"):
        watched = [entry for entry in insight if entry.get(kind)]
        if watched:
            figures[kind], axes = plots.canvas(SIZE)
            _stage_bands(axes, stages)
            _blocks(
                axes,
                {entry["epoch"]: entry[kind] for entry in watched},
                depth,
                log=kind == "gradient",
            )
            _epoch_axis(
                axes,
                [epoch for stage in stages for epoch in stage["epochs"]]
                or [e["epoch"] for e in watched],
            )
    return figures


def _blocks(
    axes: Axes, values: Mapping[int, Mapping[str, float]], depth: Sequence[str], *, log: bool
) -> None:
    """Draws a line a block; one that does not train in some epochs has gaps there."""
    table = np.array(
        [[row.get(name) for name in depth] for row in values.values()], dtype="float64"
    )
    if log:
        table[table <= 0] = np.nan
    epochs = np.array(list(values)) + 1
    trunk = [
        name
        for name, column in zip(depth, table.T, strict=True)
        if name != "head" and not np.isnan(column).all()
    ]
    shades = dict(zip(trunk, np.linspace(1, FAINTEST, max(len(trunk), 1))[::-1], strict=False))
    lines = {}
    for name, column in zip(depth, table.T, strict=True):
        if name in shades or name == "head":
            colour = plots.COLOURS["first" if name in shades else "second"]
            style = {
                "color": colour,
                "alpha": shades.get(name, 1.0),
                "linewidth": 1.3,
                "markersize": 1.8,
            }
            (lines[name],) = axes.plot(
                epochs, column, marker="o", label=name, **style
            )  # dots, for one between gaps
    if log and not np.isnan(table).all():
        _logarithmic(axes)
    places = np.linspace(len(trunk) - 1, 0, min(len(trunk), NAMED - 1)).round().astype(int)
    named = [lines[name] for name in ("head", *(trunk[place] for place in places)) if name in lines]
    if named:
        axes.figure.legend(handles=named, loc="outside right center", fontsize=8)


def _logarithmic(axes: Axes) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(
        lambda value, _: f"{value:g}"
    )  # the usual one writes powers as formulae
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
        place = {
            "transform": axes.get_xaxis_transform(),
            "ha": "center",
            "color": plots.COLOURS["muted"],
        }
        if title:
            axes.text((first + last) / 2, 1.02, title, **place)


def _titles(stages: Sequence[Mapping]) -> list[str]:
    """Names of the stages; where they would run into each other, numbers of all or of every second, third ..."""
    middles = [sum(stage["epochs"]) / 2 for stage in stages]
    letters = LETTERS / (1 + max((stage["epochs"][1] for stage in stages), default=0))  # an epoch's

    def fit(texts: Sequence[str]) -> bool:
        shown = [
            (middle * letters, len(text) / 2)
            for middle, text in zip(middles, texts, strict=True)
            if text
        ]
        return all(
            left + half + 1 <= right - other
            for (left, half), (right, other) in itertools.pairwise(shown)
        )

    names = [stage["name"] for stage in stages]
    steps = (
        [str(at + 1) if at % step == 0 else "" for at in range(len(stages))]
        for step in itertools.count(1)
    )
    return names if fit(names) else next(texts for texts in steps if fit(texts))
