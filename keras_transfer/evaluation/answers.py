"""The targets and outputs of one task, collected batch by batch, and its most telling mistakes."""

import base64
import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any  # tasks are duck-typed: they live in another room, or are the user's own

import numpy as np
import tensorflow as tf

from keras_transfer.core import checks
from keras_transfer.metrics import classification, regression

__all__ = ["Answers", "Mistake", "Result"]

THUMBNAIL = 96  # pixels of the longer side
LOSSLESS = 48  # up to this size a PNG is as small as a JPEG


@dataclass(frozen=True)
class Mistake:
    """One example that was answered wrongly; `score` is the confidence, or the size of the error."""

    index: int
    target: str
    predicted: str
    score: float
    file: str | None
    picture: str | None  # a data URI


@dataclass(frozen=True)
class Result:
    """What was measured of one task; `targets` and `outputs` are kept for the pictures of a regression."""

    kind: str
    scores: dict
    mistakes: Sequence[Mistake]
    targets: np.ndarray | None = None
    outputs: np.ndarray | None = None


@dataclass(frozen=True)
class _Inferred:
    """Stands in for the task of a model that does not say what its outputs mean."""

    kind: str
    class_names: Sequence[str] | None

    def measure(self, targets: np.ndarray, outputs: np.ndarray) -> dict:
        if self.kind == "classification":
            return classification.classification_scores(targets, outputs, self.class_names)
        return regression.regression_scores(targets, outputs)


class Answers:
    """Collects the labelled examples of one task, and thumbnails of at most `keep` mistakes.

    Args:
        name: The task's name, for errors.
        task: Has `kind`, `class_names` and `measure`; None to infer it from the first batch.
        class_names: The names in the data, or None; they must be those of the task, where both have any.
        keep: How many mistakes to keep.

    Example:
        >>> answers = Answers("animal", None, keep=1)
        >>> answers.add(0, np.zeros((2, 8, 8, 3)), np.array([0, 1]), np.array([[0.9, 0.1], [0.8, 0.2]]))
        >>> answers.result().mistakes[0].predicted
        '0'
    """

    def __init__(
        self, name: str, task: Any, *, class_names: Sequence[str] | None = None, keep: int = 24
    ):
        self.name, self.task, self.keep = name, task, keep
        self.class_names = class_names
        self.reweighted = False
        self._targets, self._outputs, self._mistakes = [], [], []
        if task is not None:
            self._check_names()

    def add(
        self,
        first: int,
        images: np.ndarray,
        targets: np.ndarray,
        outputs: np.ndarray,
        weights: np.ndarray | None = None,
    ) -> None:
        """Adds a batch whose first example has index `first`; examples of weight 0 are left out."""
        targets = np.asarray(targets)
        if targets.ndim == 0 or len(targets) != len(outputs):
            expected = f"`{self.name}` must have one target an example, {len(outputs)} in a batch"
            raise checks.error(expected, given=targets.shape)
        if self.task is None:
            self._infer(targets, outputs)
        rows = np.arange(len(outputs))
        if weights is not None:
            weights = np.asarray(weights).reshape(len(outputs), -1)
            self.reweighted |= not np.isin(weights, (0, 1)).all()
            rows = np.flatnonzero((weights != 0).any(axis=1))
        if not len(rows):
            return
        targets, outputs = self._checked(targets[rows], outputs[rows], first)
        self._targets.append(targets)
        self._outputs.append(outputs)
        self._keep_mistakes(first, rows, images, targets, outputs)

    def result(self, files: Sequence[str] | None = None) -> Result | None:
        """Measures what was added, or returns None if nothing was; `files` are the names of all examples in order."""
        if not self._targets:
            return None
        targets, outputs = np.concatenate(self._targets), np.concatenate(self._outputs)
        scores = dict(self.task.measure(targets, outputs))
        if self.task.kind == "classification":
            scores["classes"] = dict(zip(self.class_names, scores["classes"].values(), strict=True))
        if getattr(self.task, "unit", None):
            scores["unit"] = self.task.unit
        mistakes = []
        for score, index, target, output, thumbnail in sorted(
            self._mistakes, key=lambda item: (-item[0], -item[1])
        ):
            texts = self._text(target), self._text(output)
            mistakes.append(
                Mistake(-index, *texts, float(score), files and files[-index], _data_uri(thumbnail))
            )
        if self.task.kind == "regression":
            return Result(self.task.kind, scores, mistakes, targets, outputs)
        return Result(self.task.kind, scores, mistakes)

    def _infer(self, targets: np.ndarray, outputs: np.ndarray) -> None:
        if outputs.ndim != 2:
            expected = f"without `task`, the outputs of `{self.name}` must have shape (batch, classes or numbers)"
            raise checks.error(expected, given=outputs.shape, fix="Say what they are with `task=`.")
        if targets.dtype.kind == "f":
            self.task = _Inferred("regression", None)
        else:
            names = self.class_names if len(self.class_names or ()) == outputs.shape[1] else None
            self.task = _Inferred(
                "classification", names or list(map(str, range(outputs.shape[1])))
            )
        self._check_names()

    def _check_names(self) -> None:
        """Ids mean the same class in model and data, where both name their classes; plain numbers name nothing."""
        ours, theirs = self.task.class_names, self.class_names
        if ours is None or theirs is None or _numbered(theirs):
            self.class_names = ours
        elif len(ours) == len(theirs) and _numbered(ours):
            self.class_names = theirs
        elif list(ours) != list(theirs):
            odd = sorted(set(theirs) ^ set(ours)) or ["the order"]
            expected = f"the classes of the data must be those of the model, {_shown(ours)}"
            raise checks.error(expected, given=f"{_shown(theirs)}; different: {_shown(odd)}")

    def _checked(
        self, targets: np.ndarray, outputs: np.ndarray, first: int
    ) -> tuple[np.ndarray, np.ndarray]:
        if self.task.kind == "classification":
            outputs = np.asarray(outputs, "float32")
            classification.probability_rows(
                outputs, classes=len(self.task.class_names), first=first
            )
            return classification.class_ids(
                targets, examples=len(outputs), classes=len(self.task.class_names), first=first
            ), outputs
        if self.task.kind == "regression":
            outputs = regression.number_rows(outputs, name="outputs", first=first)
            targets = regression.number_rows(targets, name="targets", first=first)
            if targets.shape != outputs.shape:
                raise checks.error(
                    f"targets must have the outputs' shape {outputs.shape}", given=targets.shape
                )
        return targets, outputs

    def _keep_mistakes(
        self,
        first: int,
        rows: np.ndarray,
        images: np.ndarray,
        targets: np.ndarray,
        outputs: np.ndarray,
    ) -> None:
        if self.task.kind == "classification":
            scores = np.where(outputs.argmax(axis=1) == targets, 0, outputs.max(axis=1))
        elif self.task.kind == "regression":
            scores = abs(outputs - targets).mean(axis=1)
        else:
            return
        for i in np.argsort(-scores, kind="stable")[: self.keep]:
            if scores[i] <= 0 or (
                len(self._mistakes) == self.keep and scores[i] <= self._mistakes[0][0]
            ):
                break
            item = (
                scores[i],
                -(first + rows[i]),
                targets[i],
                outputs[i],
                _thumbnail(images[rows[i]]),
            )
            heapq.heappush(
                self._mistakes, item
            )  # the indices differ, so the arrays are never compared
            if len(self._mistakes) > self.keep:
                heapq.heappop(self._mistakes)

    def _text(self, value: np.ndarray) -> str:
        if self.task.kind == "classification":
            return str(self.class_names[int(value if np.ndim(value) == 0 else value.argmax())])
        return ", ".join(f"{number:.4g}" for number in value)


def _numbered(names: Sequence[str]) -> bool:
    return list(names) == [str(i) for i in range(len(names))]


def _shown(names: Sequence[str], limit: int = 6) -> str:
    return ", ".join(map(repr, names[:limit])) + (
        f" and {len(names) - limit} more" if len(names) > limit else ""
    )


def _thumbnail(image: np.ndarray) -> np.ndarray | None:
    """Returns the image as uint8 RGB, its longer side at most THUMBNAIL; None for what is no picture."""
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[-1] not in (1, 3, 4):
        return None
    image = np.nan_to_num(image[..., :3].astype("float32"))
    scale = min(1.0, THUMBNAIL / max(image.shape[:2]))
    if scale < 1:
        size = [max(1, round(side * scale)) for side in image.shape[:2]]
        image = tf.image.resize(image, size, antialias=True).numpy()
    image = np.clip(np.rint(image), 0, 255).astype("uint8")
    return np.repeat(image, 3, axis=-1) if image.shape[-1] == 1 else image


def _data_uri(image: np.ndarray | None) -> str | None:
    if image is None:
        return None
    if max(image.shape[:2]) <= LOSSLESS:
        kind, data = "png", tf.io.encode_png(image)
    else:
        kind, data = "jpeg", tf.io.encode_jpeg(image, quality=85)
    return f"data:image/{kind};base64,{base64.b64encode(data.numpy()).decode()}"
