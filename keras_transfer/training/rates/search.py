"""`kt.find_learning_rate`: a short run at rising rates, after which everything is as it was before."""

import contextlib
import dataclasses
import math
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from matplotlib.figure import Figure

from keras_transfer.core import checks
from keras_transfer.data import adapt
from keras_transfer.machine import streams
from keras_transfer.training import inputs

__all__ = ["RateSearch", "find_learning_rate", "smooth", "suggest"]

FALLEN = 2 / 3  # share of the whole fall of the loss that is behind the suggestion
START = 0.1  # share of the steps, at the lowest rates, that tell where the loss begins
WIDTH = 0.03  # of the Gaussian that smooths, in steps, as a share of all
DIVERGED = 4.0  # times the lowest average of the losses ends the search, as in fastai
MEMORY = 0.9  # of that average
FEWEST = 20
FORMATS = (".png", ".svg", ".pdf")
COLOURS = {"losses": "#c3cad6", "smoothed": "#2563d9", "suggestion": "#d2690f"}


@dataclasses.dataclass(frozen=True)
class RateSearch:
    """What a search for the learning rate saw.

    Args:
        rates: Of the steps.
        losses: Of the steps, each on its batch, before the weights move.
        smoothed: The losses, each averaged with those of the steps around it.
        suggestion: The rate to train with.

    Example:
        >>> search = RateSearch((0.1, 1.0), (2.0, 1.0), (2.0, 1.0), suggestion=0.5)
        >>> search.plot().axes[0].get_xscale()
        'log'
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    suggestion: float

    def plot(self) -> Figure:
        """Returns a drawing of the losses over the rates, with the suggestion marked."""
        figure = Figure(figsize=(6.4, 3.6), layout="constrained")
        axes = figure.add_subplot()
        axes.plot(
            self.rates, self.losses, color=COLOURS["losses"], linewidth=1, label="loss of a batch"
        )
        axes.plot(
            self.rates, self.smoothed, color=COLOURS["smoothed"], linewidth=2, label="smoothed"
        )
        marked = f"suggestion: {self.suggestion:g}"
        axes.axvline(self.suggestion, color=COLOURS["suggestion"], linestyle="--", label=marked)
        start, lowest = self.smoothed[0], min(self.smoothed)
        margin = 0.3 * (start - lowest)
        axes.set_ylim(
            lowest - margin, start + margin
        )  # a diverging loss would flatten all the rest
        axes.set_xscale("log")
        axes.set_xlabel("learning rate")
        axes.set_ylabel("loss")
        axes.legend(frameon=False, loc="lower left")
        return figure

    def save(self, path: str | os.PathLike) -> None:
        """Writes the drawing to a .png, .svg or .pdf file."""
        checks.choice(pathlib.Path(path).suffix, FORMATS, name="path")
        self.plot().savefig(path, dpi=150)


@streams.telling()
def find_learning_rate(
    model: keras.Model,
    dataset: object,
    *,
    lowest: float = 1e-7,
    highest: float = 1.0,
    steps: int = 100,
    verbose: str | int = "auto",
) -> RateSearch:
    """Trains for some steps at rising rates and suggests one (after Smith 2017, arXiv:1506.01186).

    The model trains as it is compiled, those layers that train now, by a fresh copy of its optimizer; see `suggest` for
    the rule. The search ends early where the loss diverges. Afterwards weights, optimizer, metrics, the states of
    dropout and the order of data from `kt.data` are what they were. A data set that shuffles by itself may be some
    passes further on.

    Args:
        model: A compiled model whose optimizer has one learning rate. With rates by layer, the one of factor 1.
        dataset: Data from `kt.data`, of which the training part is used, or what Keras's `fit` takes. It is gone
            through as often as the steps need.
        lowest: The rate of the first step, too low to change much.
        highest: The rate of the last step.
        steps: How many, at least 20. From each to the next, the rate is multiplied by the same number.
        verbose: 0 silences the line about the result.

    Raises:
        InputError: If the model cannot train, or its loss does not fall.

    Example:
        >>> import keras_transfer as kt
        >>> data = kt.data.scenes(64, image_size=32, targets="background", validation=None)
        >>> model = kt.build_model(kt.backbone("tiny"), kt.tasks.Classification(data.class_names))
        >>> 1e-5 < find_learning_rate(model, data, steps=30, verbose=0).suggestion < 1e-1
        True
    """
    low, high = (
        checks.number(rate, name=name, above=0)
        for rate, name in ((lowest, "lowest"), (highest, "highest"))
    )
    if low >= high:
        raise checks.error("`lowest` must be less than `highest`", given=f"{lowest} and {highest}")
    rates = np.geomspace(low, high, checks.integer(steps, name="steps", minimum=FEWEST)).tolist()
    _check(model)
    batches = adapt.split(dataset, name="dataset", training=True).first("train")
    if batches is None:
        raise checks.error("`dataset` must be data with a training part", given=repr(dataset))
    batches.check("dataset", endless=True)
    with _as_before(model, batches.passes):
        losses = _range_test(model, inputs.for_tasks(model, batches.training), rates)
    rates = rates[: len(losses)]
    smoothed = smooth(losses)
    suggestion = suggest(rates, smoothed)
    if verbose != 0:
        seen = (
            f"the loss fell from {smoothed[0]:.4g} to {min(smoothed):.4g} in {len(losses)} steps "
            f"up to {rates[-1]:.2g}"
        )
        noise = float(np.std(np.subtract(losses, smoothed)[: int(np.argmin(smoothed)) + 1]))
        doubt = (
            ", but it differs more from batch to batch: try more steps"
            if noise > smoothed[0] - min(smoothed)
            else ""
        )
        checks.note(f"suggested learning rate {suggestion:g}: {seen}{doubt}")
    return RateSearch(tuple(rates), tuple(losses), tuple(smoothed), suggestion)


def smooth(losses: Sequence[float]) -> list[float]:
    """Returns the losses, each averaged with its neighbours by a Gaussian, so that no step is late.

    Example:
        >>> [round(loss, 2) for loss in smooth([1.0, 1.0, 2.0, 1.0, 1.0])]
        [1.0, 1.11, 1.79, 1.11, 1.0]
    """
    steps = np.arange(len(losses))
    weights = np.exp(-0.5 * np.square((steps[:, None] - steps) / max(WIDTH * len(losses), 0.5)))
    return (weights @ np.asarray(losses, "float64") / weights.sum(axis=1)).tolist()


def suggest(rates: Sequence[float], smoothed: Sequence[float]) -> float:
    """Returns the lowest rate from which on the loss has fallen by two thirds of its whole fall, until it rises again.

    At the lowest loss itself the rate is too high already: the loss went on falling while the steps began to be too
    large. On pretrained networks, rates found like that trained as well as the best of a grid.

    Args:
        rates: Rising.
        smoothed: The loss at each.

    Raises:
        InputError: If the loss does not fall.

    Example:
        >>> suggest([1e-4, 1e-3, 1e-2, 1e-1, 1.0], [2.0, 1.9, 1.2, 1.0, 3.0])
        0.01
    """
    bottom = int(np.argmin(smoothed))
    start = float(np.mean(smoothed[: max(1, round(START * len(smoothed)))]))
    fall = start - smoothed[bottom]
    if bottom == 0 or fall <= 0:
        raise checks.error(
            "the loss must fall at some learning rate",
            given=f"{smoothed[0]:.4g} at {rates[0]:.2g}, {smoothed[-1]:.4g} at {rates[-1]:.2g}",
            fix="Check that the labels fit the images, that something trains, and that `highest` is high enough.",
        )
    at = bottom
    while at > 0 and smoothed[at - 1] <= start - FALLEN * fall:
        at -= 1
    return float(f"{rates[at]:.2g}")


def _check(model: keras.Model) -> None:
    """Raises an error if the model cannot train at one rate."""
    if not getattr(model, "compiled", False):
        raise checks.error(
            "`model` must be compiled",
            given=f"{model.name!r}, which is not",
            fix="Call model.compile.",
        )
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    if hasattr(optimizer, "optimizers"):
        raise checks.error(
            "the optimizer must have one learning rate", given=f"a {type(optimizer).__name__}"
        )
    if not model.trainable_variables:
        raise checks.error(
            "`model` must have something to train", given=f"{model.name!r}, all of it frozen"
        )


@contextlib.contextmanager
def _as_before(model: keras.Model, passes: Sequence) -> Iterator[None]:
    """Lends the model a copy of its optimizer; afterwards everything is as before.

    Args:
        model: Changed within the block.
        passes: Counters of the passes over the data, each in its `next`.
    """
    kept = {
        id(one): (one, ops.convert_to_numpy(one))
        for one in [*model.variables, *model.metrics_variables]
    }
    own = {name: getattr(model, name) for name in ("optimizer", "train_function")}
    upcoming = [counter.next for counter in passes]
    strategy = getattr(model, "distribute_strategy", None)
    with contextlib.nullcontext() if strategy is None else strategy.scope():
        lent = {"optimizer": _copy(model.optimizer), "train_function": None}
    try:
        _set(model, lent)
        yield
    finally:
        _set(model, own)
        model.reset_metrics()  # those that began to exist with the first batch
        for variable, value in kept.values():
            variable.assign(value)
        for counter, number in zip(passes, upcoming, strict=True):
            counter.next = number


def _set(model: keras.Model, values: Mapping[str, object]) -> None:
    for name, value in values.items():
        object.__setattr__(
            model, name, value
        )  # TensorFlow would keep what is assigned otherwise in its checkpoints


def _copy(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """The same optimizer with empty slots, and with a rate that can be set where it had a schedule."""
    inner = getattr(optimizer, "inner_optimizer", None)
    if inner is not None:
        scale = {
            name: getattr(optimizer, name) for name in ("initial_scale", "dynamic_growth_steps")
        }
        return keras.optimizers.LossScaleOptimizer(_copy(inner), **scale)
    return type(optimizer).from_config({**optimizer.get_config(), "learning_rate": 0.0})


def _range_test(
    model: keras.Model, batches: tf.data.Dataset, rates: Sequence[float]
) -> list[float]:
    """Trains one step at each rate and returns the losses, up to where they diverge."""
    losses: list[float] = []
    averages: list[float] = []
    average = 0.0
    while True:
        began = len(losses)
        for batch in batches.as_numpy_iterator():
            x, y, weights = keras.utils.unpack_x_y_sample_weight(batch)
            if weights is not None and not any(
                np.any(part) for part in keras.tree.flatten(weights)
            ):
                continue  # no label at all: a loss of 0 that tells nothing
            model.optimizer.learning_rate = rates[len(losses)]
            loss = float(
                model.train_on_batch(x, y, sample_weight=weights, return_dict=True)["loss"]
            )
            if not math.isfinite(loss):
                return _enough(losses, loss)
            losses.append(loss)
            average = MEMORY * average + (1 - MEMORY) * loss
            averages.append(average / (1 - MEMORY ** len(losses)))
            lowest = min(averages)
            if averages[-1] > max(lowest + (DIVERGED - 1) * abs(lowest), averages[0]) or len(
                losses
            ) == len(rates):
                return _enough(losses, loss)
        if len(losses) == began:
            raise checks.error("`dataset` must have training examples", given="an empty dataset")


def _enough(losses: list[float], last: float) -> list[float]:
    if len(losses) < FEWEST:
        raise checks.error(
            "the loss must be a steady number at low learning rates",
            given=f"{last:g} at step {len(losses) + 1}",
            fix="Lower `lowest`, or look for wrong numbers in the data.",
        )
    return losses
