"""Numbers in the unit of their labels."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_transfer import losses, metrics
from keras_transfer.core import checks
from keras_transfer.metrics import baselines
from keras_transfer.metrics import regression as scoring
from keras_transfer.pages import document
from keras_transfer.tasks import base

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Regression"]

HEADLINES = {  # score: (title, help)
    "mae": ("Mean absolute error", ""),
    "rmse": ("RMS error", ""),
    "r2": ("R²", "variance explained"),
    "bias": ("Bias", "mean of predicted − true"),
}
DRAWN = 6  # outputs with figures of their own
TITLES = {"scatter": "Predicted against true", "residuals": "Errors"}


@keras.saving.register_keras_serializable("keras_transfer")
class Regression(base.Task):
    """Answers with one or several numbers, in the unit of the labels.

    `kt.fine_tune` and `kt.compile(model, data=...)` take the unit from the training targets: the
    head learns standardised values, the output layer turns them back.

    Args:
        outputs: How many numbers.
        unit: Name of the unit, for reports.
        hidden: As for `Task`.
        dropout: As for `Task`.
        pooling: As for `Task`.
        level: As for `Task`.
        stop_gradient: As for `Task`.

    Example:
        >>> Regression(unit="years").units
        1
    """

    kind = "regression"
    score = "mae"
    higher_is_better = False
    has_unit = True
    moves_with_image = False
    link = "identity"
    draws_examples = True
    headlines = HEADLINES
    mistakes_title = "Largest errors"
    target_title = "The true value"

    def __init__(
        self,
        outputs: int = 1,
        *,
        unit: str | None = None,
        hidden: Sequence[int] = (),
        dropout: float = 0.0,
        pooling: str = "avg",
        level: str | None = None,
        stop_gradient: bool = False,
    ) -> None:
        super().__init__(
            hidden=hidden,
            dropout=dropout,
            pooling=pooling,
            level=level,
            stop_gradient=stop_gradient,
        )
        self.outputs = checks.integer(outputs, name="outputs")
        self.unit = unit

    @property
    def units(self) -> int:
        """How many numbers."""
        return self.outputs

    def activate(self, outputs: keras.KerasTensor) -> keras.KerasTensor:
        """Returns the outputs as they are: any number is an answer."""
        return outputs

    def loss(self, targets: np.ndarray | None = None) -> losses.ScaledHuber:
        """Returns the Huber loss in units of the targets' deviation."""
        return losses.ScaledHuber(scale=1.0 if targets is None else self.spread(targets)[0])

    def spread(self, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the deviation (1 where there is none) and the mean of each number."""
        values = self.encode(targets).astype("float64")
        deviation = values.std(axis=0)
        return np.where(deviation > 0, deviation, 1.0), values.mean(axis=0)

    def metrics(self) -> list[keras.metrics.Metric]:
        """Returns the mean absolute error, in the labels' unit."""
        return [keras.metrics.MeanAbsoluteError(name="mae")]

    def encode(self, targets: np.ndarray) -> np.ndarray:
        """Returns float32 values of shape (examples, outputs)."""
        values = np.asarray(targets)
        if values.dtype.kind not in "iubf" or values.size != len(values) * self.outputs:
            raise checks.error(
                f"`labels` must be {self.outputs} number(s) a picture",
                given=f"{values.dtype} of shape {values.shape}",
            )
        values = values.reshape(len(values), self.outputs).astype("float32")
        if not np.isfinite(values).all():
            at = int(np.argmax(~np.isfinite(values).all(axis=1)))
            raise checks.error(
                "`labels` must be finite numbers", given=f"{values[at].tolist()} at index {at}"
            )
        return values

    @classmethod
    def infer(
        cls, targets: np.ndarray, outputs: np.ndarray, class_names: Sequence[str] | None
    ) -> "Regression":
        """Returns a regression."""
        return cls(outputs.shape[1])

    def check(
        self, targets: np.ndarray, outputs: np.ndarray, *, first: int = 0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns two arrays of numbers of one shape."""
        outputs = scoring.number_rows(outputs, name="outputs", first=first)
        targets = scoring.number_rows(targets, name="targets", first=first)
        if targets.shape != outputs.shape:
            raise checks.error(
                f"targets must have the outputs' shape {outputs.shape}", given=targets.shape
            )
        return targets, outputs

    def errors(self, targets: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        """Returns the mean absolute error of each example."""
        return abs(outputs - targets).mean(axis=1)

    def describe(self, value: np.ndarray) -> str:
        """Returns the numbers."""
        return ", ".join(f"{number:.4g}" for number in value)

    def describe_error(self, error: float) -> str:
        """Returns how far off the model was."""
        return f"off by {document.text(error)}"

    def headline(self, score: str, scores: Mapping) -> tuple[str, str]:
        """Returns title and help; for errors the unit."""
        title, more = super().headline(score, scores)
        if score in ("mae", "rmse") and scores.get("unit"):
            more = scores["unit"]
        return title, more

    def figures(
        self, scores: Mapping, targets: np.ndarray | None, outputs: np.ndarray | None
    ) -> "dict[str, Figure]":
        """Returns predicted against true numbers, and their errors, of the first outputs."""
        if targets is None or outputs is None:
            return {}
        from keras_transfer.pages import plots  # brings matplotlib

        figures = {}
        for output in range(min(outputs.shape[1], DRAWN)):
            suffix = f"_{output}" if outputs.shape[1] > 1 else ""
            pair = targets[:, output], outputs[:, output]
            figures[f"scatter{suffix}"] = plots.scatter(*pair)
            figures[f"residuals{suffix}"] = plots.residuals(*pair)
        return figures

    def section(
        self,
        scores: Mapping,
        targets: np.ndarray | None,
        outputs: np.ndarray | None,
        *,
        name: str,
    ) -> str:
        """Returns figures of the first outputs, and a table where there are several."""
        parts = []
        figures = self.figures(scores, targets, outputs)
        if figures:
            boxes = _draw(figures, name)
            parts.append(f'<div class="pair">{"".join(boxes)}</div>')

        if scores.get("outputs"):
            rows = []
            for index, row in enumerate(scores["outputs"]):
                rows.append((str(index), *map(document.number, row.values())))
            table = document.table("", ["output", *scores["outputs"][0]], rows)
            parts.append(document.box("Each output", table))
        return "".join(parts)

    def decode(self, outputs: Any) -> dict:
        """Returns `value`."""
        import tensorflow as tf

        return {"value": tf.identity(outputs)}

    def measure(self, targets: np.ndarray, outputs: np.ndarray) -> dict:
        """Returns the mean absolute error, root mean squared error and R2, and the unit if it has a name."""
        scores = metrics.regression_scores(targets, outputs)
        return {**scores, "unit": self.unit} if self.unit else scores

    def intervals_of_groups(
        self, targets: np.ndarray, outputs: np.ndarray, groups: np.ndarray
    ) -> dict[str, list[float]]:
        """Returns the intervals of the scores."""
        return scoring.regression_intervals(targets, outputs, groups=groups)

    def baseline(self, targets: np.ndarray, outputs: np.ndarray) -> dict | None:
        """Compares with always answering the mean of these targets; None where all are equal."""
        if not np.ptp(targets, axis=0).any():
            return None
        constant = np.broadcast_to(targets.mean(axis=0), targets.shape)
        errors, others = self.errors(targets, outputs), self.errors(targets, constant)
        return {
            "answer": "the mean",
            "scores": {"mae": float(others.mean())},
            "is_beaten": baselines.are_errors_smaller(errors, others),
        }

    def get_config(self) -> dict:
        """Returns what the constructor takes."""
        return {**super().get_config(), "outputs": self.outputs, "unit": self.unit}

    @classmethod
    def example(cls, **options: Any) -> tuple["Regression", np.ndarray]:
        """Returns one number an image."""
        return cls(1, **options), np.array([3.0, 60.0, 24.5, 8.0])


def _draw(figures: "Mapping[str, Figure]", name: str) -> list[str]:
    """Returns two figures of each of the first outputs, as HTML."""
    from keras_transfer.pages import plots  # brings matplotlib

    boxes = []
    for key, figure in figures.items():
        kind, _, output = key.partition("_")
        title = TITLES[kind] + (f" of output {output}" if output else "")
        picture = plots.svg(figure, name=f"{key}-{name}", label=title)
        boxes.append(document.box(title, f"<figure>{picture}</figure>"))
    return boxes
