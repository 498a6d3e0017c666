"""Tags: any number of names an image."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from keras_transfer import losses, metrics
from keras_transfer.core import checks
from keras_transfer.data.targets import tags as tag_labels
from keras_transfer.metrics import baselines, ranking
from keras_transfer.metrics import tags as scoring
from keras_transfer.pages import document
from keras_transfer.tasks import base, class_scores, naming

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["MultiLabel", "TagScorer"]

HEADLINES = {  # score: (title, help)
    "map": ("Mean average precision", "over tags, at all thresholds"),
    "auc": ("Area under ROC", "mean over tags"),
    "precision": ("Precision", "mean over tags"),
    "recall": ("Recall", "mean over tags"),
    "f1": ("F1", "mean over tags"),
    "accuracy": ("Accuracy", "share of right tags"),
    "exact": ("All tags right", "share of images"),
}
COLUMNS = {**class_scores.COLUMNS, "average_precision": "average precision"}
CURVES = 8  # more tags are not drawn


@keras.saving.register_keras_serializable("keras_transfer")
class MultiLabel(base.Task):
    """Answers with the probability of each tag, of which an image may have any number.

    Labels are lists of names, texts such as "red;round" (";" alone for no tag), or rows of 0 and 1. A blank label is
    missing; NaN in a row is a tag that is not known. From which probability on a tag counts as there is chosen by
    `kt.fine_tune` on the validation data, and saved and exported with the model.

    Args:
        tags: Their names, or their number.
        thresholds: A number for all tags, or one by name or in order; None to choose the best F1 on validation.
        chosen: What validation chose, in a saved task.
        hidden: As for `Task`.
        dropout: As for `Task`.
        pooling: As for `Task`.
        level: As for `Task`.
        stop_gradient: As for `Task`.

    Example:
        >>> MultiLabel(["red", "round"]).encode(["red;round", "red", ";"]).tolist()
        [[1.0, 1.0], [1.0, 0.0], [0.0, 0.0]]
    """

    kind = "multi_label"
    pipeline = "image-classification"
    class_names: list[str]
    score = "map"
    monitor = "accuracy"
    bears_changes = True
    moves_with_image = False
    link = "sigmoid"
    has_operating_points = True
    draws_examples = True
    headlines = HEADLINES
    mistakes_title = "Most confident mistakes"
    target_title = "The true tags"

    def __init__(
        self,
        tags: int | Sequence[str],
        *,
        thresholds: float | Mapping[str, float] | Sequence[float] | None = None,
        chosen: Sequence[float] | None = None,
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
        self.class_names = naming.read_names(tags, argument="tags", minimum=1)
        self.thresholds = _thresholds(thresholds, self.class_names)
        self.calibrates = self.thresholds is None
        self.chosen = _thresholds(chosen, self.class_names)

    @property
    def units(self) -> int:
        """The number of tags."""
        return len(self.class_names)

    @property
    def limits(self) -> np.ndarray:
        """From which probability on each tag counts as there; 0.5 until it was chosen."""
        limits = self.thresholds or self.chosen or [0.5] * self.units
        return np.array(limits, "float32")

    def activate(self, outputs: keras.KerasTensor) -> keras.KerasTensor:
        """Sigmoid."""
        return ops.sigmoid(outputs)

    def loss(self, targets: np.ndarray | None = None) -> losses.TagCrossentropy:
        """Returns the mean cross-entropy of the known tags."""
        return losses.TagCrossentropy()

    def metrics(self) -> list[keras.metrics.Metric]:
        """Returns the share of right tags."""
        return [metrics.TagAccuracy()]

    def encode(self, targets: np.ndarray | Sequence) -> np.ndarray:
        """Returns float32 rows of 0 and 1, NaN where a tag is not known."""
        values: Sequence = list(targets) if isinstance(targets, np.ndarray) else targets
        are_texts = any(isinstance(each, str) for each in values)
        if are_texts:
            values = tag_labels.split_tags(values)
        if are_texts or tag_labels.reads(values):
            known, present = tag_labels.fill(values)
            rows, _ = tag_labels.encode(known, names=self.class_names)
            if present is not None:
                rows[~present] = np.nan
            return rows
        rows = np.asarray(targets)
        if rows.dtype.kind not in "iubf" or rows.shape != (len(rows), self.units):
            raise checks.error(
                f"`labels` must be lists of tags, or rows of {self.units} numbers",
                given=f"{rows.dtype} of shape {rows.shape}",
            )
        rows = rows.astype("float32")
        wrong = ~(np.isin(rows, (0, 1)) | np.isnan(rows)).all(axis=1)
        if wrong.any():
            at = int(np.argmax(wrong))
            raise checks.error(
                "`labels` must be 0, 1, or NaN where a tag is not known",
                given=f"{rows[at].tolist()} at index {at}",
            )
        return rows

    def calibrate(self, targets: np.ndarray, outputs: np.ndarray) -> str:
        """Chooses the threshold with the best F1 of each tag."""
        chosen = scoring.best_thresholds(targets, outputs).tolist()
        self.chosen = chosen
        texts = [
            f"{name} {limit:.2f}" for name, limit in zip(self.class_names, chosen, strict=True)
        ]
        shown = ", ".join(texts[:5]) + (", …" if len(texts) > 5 else "")
        return f"thresholds with the best F1 on validation: {shown}"

    def check(
        self, targets: np.ndarray, outputs: np.ndarray, *, first: int = 0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns rows of 0, 1 and NaN, and probabilities."""
        return scoring.tag_rows(targets, outputs, tags=self.units, first=first)

    def measure(self, targets: np.ndarray, outputs: np.ndarray) -> dict:
        """Returns mean average precision, and precision, recall and F1 at the thresholds, also of each tag."""
        return metrics.tag_scores(targets, outputs, self.class_names, thresholds=self.limits)

    def scorer(self) -> "TagScorer":
        """Returns what also finds thresholds."""
        return TagScorer(self)

    def baseline(self, targets: np.ndarray, outputs: np.ndarray) -> dict | None:
        """Compares with always answering how frequent each tag is; None where no tag tells images apart."""
        known = np.isfinite(targets)
        counts, present = known.sum(axis=0), np.nansum(targets, axis=0)
        if not ((present > 0) & (present < counts)).any():
            return None
        seen = present > 0
        frequencies = present[seen] / counts[seen]
        right = np.maximum(present, counts - present)
        return {
            "answer": "the tag frequencies",
            "scores": {
                "map": float(frequencies.mean()),
                "accuracy": float(right.sum() / counts.sum()),
            },
            "is_beaten": baselines.do_scores_rank(targets, outputs),
        }

    def doubts(self, outputs: np.ndarray) -> np.ndarray:
        """Returns how near the tag that is nearest to its threshold is to it."""
        return np.clip(1 - np.abs(outputs - self.limits).min(axis=1), 0, 1)

    def errors(self, targets: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        """Returns how far the probability of the worst wrong tag is from the truth."""
        wrong = ((outputs >= self.limits) != (targets == 1)) & np.isfinite(targets)
        return np.where(wrong, np.abs(outputs - np.nan_to_num(targets)), 0.0).max(axis=1)

    def describe(self, value: np.ndarray) -> str:
        """Returns the names of the tags."""
        names = [
            name
            for name, limit, each in zip(self.class_names, self.limits, value, strict=True)
            if each >= limit
        ]
        return ", ".join(names) or "no tag"

    def describe_error(self, error: float) -> str:
        """Returns how sure the model was of the worst wrong tag."""
        return f"{error:.0%} sure"

    def text(self, scores: Mapping) -> list[str]:
        """Returns a table of tags, and the numbers."""
        columns = (*COLUMNS, "threshold")
        return [*class_scores.lines(scores["classes"], columns=columns), *super().text(scores)]

    def figures(
        self, scores: Mapping, targets: np.ndarray | None, outputs: np.ndarray | None
    ) -> "dict[str, Figure]":
        """Returns precision against recall of the first tags."""
        if targets is None or outputs is None:
            return {}
        from keras_transfer.pages import plots  # brings matplotlib

        curves = {
            tag: (targets[:, column], outputs[:, column])
            for column, tag in enumerate(self.class_names)
            if scores["classes"][tag]["support"] and column < CURVES
        }
        return {"precision_recall": plots.precision_recall(curves)}

    def section(
        self,
        scores: Mapping,
        targets: np.ndarray | None,
        outputs: np.ndarray | None,
        *,
        name: str,
    ) -> str:
        """Returns the table of tags, and their precision against recall."""
        table = class_scores.table(scores["classes"], columns={**COLUMNS, "threshold": "threshold"})
        figures = self.figures(scores, targets, outputs)
        if not figures:
            return table
        from keras_transfer.pages import plots  # brings matplotlib

        label = "Precision against recall of each tag"
        picture = plots.svg(figures["precision_recall"], name=f"recall-{name}", label=label)
        return table + document.box("Precision and recall", f"<figure>{picture}</figure>")

    def decode(self, outputs: Any) -> dict:
        """Returns `probabilities`, and `tags`: the names of those that are there, joined by ";"."""
        import tensorflow as tf

        names = tf.constant([f"{name};" for name in self.class_names])
        pieces = tf.where(outputs >= self.limits, names[None], "")
        joined = tf.strings.reduce_join(pieces, axis=-1)
        return {
            "probabilities": tf.identity(outputs),
            "tags": tf.strings.regex_replace(joined, ";$", ""),
        }

    def answer(self, output: np.ndarray, *, top: int = 3) -> dict[str, float]:
        """Returns the probabilities of the tags that are there, all of them, the surest first."""
        there = [index for index in output.argsort()[::-1] if output[index] >= self.limits[index]]
        return {self.class_names[index]: round(float(output[index]), 6) for index in there}

    def intervals_of_groups(
        self, targets: np.ndarray, outputs: np.ndarray, groups: np.ndarray
    ) -> dict[str, list[float]]:
        """Returns the intervals of the scores."""
        options = {"thresholds": self.limits, "groups": groups}
        return metrics.tag_scores(targets, outputs, self.class_names, **options)["intervals"]

    def get_config(self) -> dict:
        """Returns what the constructor takes."""
        own = {"tags": self.class_names, "thresholds": self.thresholds, "chosen": self.chosen}
        return {**super().get_config(), **own}

    @classmethod
    def example(cls, **options: Any) -> tuple["MultiLabel", np.ndarray]:
        """Returns two tags, one of them not known of an image."""
        rows = [[1, 0], [1, 1], [0, 1], [0, np.nan]]
        return cls(["red", "round"], **options), np.array(rows, "float32")


class TagScorer(base.Scorer):
    """Keeps the tags and probabilities of all images.

    Args:
        task: A task with tags.

    Example:
        >>> TagScorer(MultiLabel(["red"])).is_empty
        True
    """

    task: MultiLabel

    def operating_points(self, measure: str, least: float) -> dict:
        """Returns `threshold`, `precision` and `recall` of each tag; None for a tag that cannot have so much."""
        targets, outputs = self.arrays()
        curves = ranking.Ranking(self.task.units)
        curves.add(np.where(np.isfinite(targets), targets, -1), outputs)
        points = {}
        for column, name in enumerate(self.task.class_names):
            points[name] = curves.operating_point(column, measure, least)
        return {"classes": points}


def _thresholds(values: Any, tags: list[str]) -> list[float] | None:
    """Returns None, or a threshold for each tag."""
    if values is None:
        return None
    if not hasattr(values, "__iter__"):
        values = [values] * len(tags)
    values = naming.values_in_order(values, tags, argument="thresholds", default=0.5, what="tag")
    return [checks.number(value, name="thresholds", above=0, below=1) for value in values]
