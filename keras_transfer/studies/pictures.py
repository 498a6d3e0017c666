"""Figures of comparisons: what each task gains, how alike tasks are, how good each arm is, and learning curves."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib import ticker
from matplotlib.figure import Figure

from keras_transfer.pages import plots
from keras_transfer.studies.scores import Score

__all__ = ["against_size", "arms", "curves", "gains", "similarity"]

TONES = {"positive": "first", "negative": "wrong"}


@matplotlib.rc_context(plots.STYLE)
def gains(tasks: Mapping[str, Mapping]) -> Figure:
    """Draws each task's gain in percent: the mean over seeds with its interval, in the colour of the verdict.

    Args:
        tasks: As in a `TaskComparison`.

    Example:
        >>> task = {"percent": 5.0, "percent_interval": [2.0, 8.0], "verdict": "positive"}
        >>> gains({"kind": task}).axes[0].get_yticklabels()[0].get_text()
        'kind'
    """
    figure, axes = plots.canvas((5.2, 0.9 + 0.5 * len(tasks)))
    for place, task in enumerate(tasks.values()):
        colour = plots.COLOURS[TONES.get(task["verdict"], "muted")]
        interval = task["percent_interval"]
        if interval:
            axes.plot(interval, [place, place], color=colour, solid_capstyle="round")
        axes.plot([task["percent"]], [place], "o", color=colour, markersize=7)
    axes.axvline(0, color=plots.COLOURS["ink"], linewidth=1, linestyle=(0, (3, 3)))
    axes.set_yticks(range(len(tasks)), list(tasks))
    axes.set_ylim(len(tasks) - 0.5, -0.5)
    axes.grid(axis="x", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xlabel("gain together, in percent of the score alone")
    return figure


@matplotlib.rc_context(plots.STYLE)
def arms(cells: Mapping[str, Mapping], score: Score) -> Figure:
    """Draws each arm's score: every seed as a dot, the mean as a larger one, with its interval.

    Args:
        cells: By arm, as in a `Comparison`.
        score: What was measured.

    Example:
        >>> cell = {"mean": 0.8, "interval": [0.7, 0.9], "seeds": [0.78, 0.82]}
        >>> arms({"probe": cell}, Score("accuracy", "accuracy", True, True)).axes[0].get_xlabel()
        'accuracy, %'
    """
    figure, axes = plots.canvas((5.2, 0.9 + 0.5 * len(cells)))
    factor = 100 if score.is_share else 1
    for place, cell in enumerate(cells.values()):
        colour = plots.COLOURS["first"]
        seeds = [factor * value for value in cell["seeds"]]
        axes.plot(seeds, [place] * len(seeds), "o", color=colour, alpha=0.35, markersize=4)
        if cell["interval"]:
            bounds = [factor * bound for bound in cell["interval"]]
            axes.plot(bounds, [place, place], color=colour, solid_capstyle="round")
        axes.plot([factor * cell["mean"]], [place], "o", color=colour, markersize=7)
    axes.set_yticks(range(len(cells)), list(cells))
    axes.set_ylim(len(cells) - 0.5, -0.5)
    axes.grid(axis="x", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xlabel(_axis(score))
    return figure


@matplotlib.rc_context(plots.STYLE)
def against_size(
    points: Sequence[tuple[str, int, float | None, float | None]], score: Score, *, rough: str
) -> Figure:
    """Draws what networks are worth against how large they are.

    Args:
        points: Name, parameters, a score of frozen features in 0..1 and the score after a short training, or None.
        score: Of the training.
        rough: Title of the score of frozen features.

    Example:
        >>> accuracy = Score("accuracy", "accuracy", True, True)
        >>> against_size([("a", 1000, 0.5, None)], accuracy, rough="probe").axes[0].get_xlabel()
        'parameters'
    """
    figure, axes = plots.canvas((6.4, 3.8))
    factor = 100 if score.is_share else 1
    kinds = ((2, rough, "muted"), (3, f"{score.title}, trained", "first"))
    for column, label, tone in kinds:
        own = [point for point in points if point[column] is not None]
        if not own or (column == 2 and not score.is_share):
            continue
        heights = [factor * (point[column] or 0.0) for point in own]
        sizes = [point[1] for point in own]
        axes.plot(sizes, heights, "o", color=plots.COLOURS[tone], markersize=6, label=label)
    for name, parameters, frozen, trained in points:
        value = frozen if trained is None else trained
        if value is not None and (score.is_share or trained is not None):
            place = (parameters, factor * value)
            axes.annotate(name, place, xytext=(6, 4), textcoords="offset points", fontsize=8)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda size, _: f"{size:,.0f}"))
    axes.minorticks_off()
    axes.margins(0.15)
    axes.grid(linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xlabel("parameters")
    axes.set_ylabel(_axis(score))
    figure.legend(loc="outside lower center", ncols=2)
    return figure


@matplotlib.rc_context(plots.STYLE)
def curves(points: Mapping[str, Sequence[Mapping]], score: Score) -> Figure:
    """Draws each arm's score against the number of labelled images, with bands for intervals.

    Args:
        points: By arm, as in a `Comparison`.
        score: What was measured.

    Example:
        >>> point = {"images": 10, "mean": 0.8, "interval": None, "seeds": [0.8]}
        >>> curves({"probe": [point]}, Score("accuracy", "accuracy", True, True)).axes[0].get_xlabel()
        'labelled images'
    """
    figure, axes = plots.canvas((5.2, 3.6))
    factor = 100 if score.is_share else 1
    tones = [plots.COLOURS[name] for name in ("first", "second", "wrong", "muted", "ink")]
    for number, (name, own) in enumerate(points.items()):
        colour = tones[number % len(tones)]
        sizes = [point["images"] for point in own]
        means = [factor * point["mean"] for point in own]
        axes.plot(sizes, means, "o-", color=colour, markersize=5, label=name)
        bounds = [point["interval"] or [np.nan, np.nan] for point in own]  # no band there
        low, high = factor * np.array(bounds).T
        axes.fill_between(sizes, low, high, color=colour, alpha=0.12, linewidth=0)
    axes.set_xscale("log", base=2)
    every = sorted({point["images"] for own in points.values() for point in own})
    axes.set_xticks(every, [f"{images:,}" for images in every])
    axes.minorticks_off()
    axes.grid(linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xlabel("labelled images")
    axes.set_ylabel(_axis(score))
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def _axis(score: Score) -> str:
    return f"{score.title}, %" if score.is_share else score.title


@matplotlib.rc_context(plots.STYLE)
def similarity(cosines: Sequence[Sequence[float | None]], names: Sequence[str]) -> Figure:
    """Draws the cosines between tasks as a matrix; stronger colours are farther from 0.

    Args:
        cosines: One row a task; None where two tasks were never compared.
        names: Names of the tasks.

    Example:
        >>> similarity([[1.0, -0.2], [-0.2, 1.0]], ["kind", "age"]).axes[0].get_xticklabels()[1].get_text()
        'age'
    """
    values = np.array(cosines, dtype="float64")
    pixels = np.empty((*values.shape, 4))
    pixels[..., :3] = matplotlib.colors.to_rgb(plots.COLOURS["first"])
    pixels[values < 0, :3] = matplotlib.colors.to_rgb(plots.COLOURS["wrong"])
    pixels[..., 3] = np.nan_to_num(np.sqrt(np.abs(values)))  # small cosines are the rule

    side = 0.75 * len(names)
    figure = Figure(figsize=(side, side))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(pixels, interpolation="none", aspect="auto")
    axes.spines[:].set_visible(True)
    shown = [name if len(name) <= 16 else f"{name[:15]}…" for name in names]
    axes.set_xticks(range(len(names)), shown, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), shown)
    axes.tick_params(length=0, pad=4)

    for (row, column), value in np.ndenumerate(values):
        colour = "white" if pixels[row, column, 3] > 0.6 else plots.COLOURS["ink"]
        text = "–" if np.isnan(value) else f"{value:z.2f}"
        axes.text(column, row, text, ha="center", va="center", color=colour)
    return figure
