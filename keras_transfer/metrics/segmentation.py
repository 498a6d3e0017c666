"""Scores of a class for every pixel: IoU, Dice, accuracy, and how well borders are met."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from scipy import ndimage

from keras_transfer.metrics import intervals

__all__ = ["MeanIoU", "border_counts", "confusion", "segmentation_intervals", "segmentation_scores"]

IGNORED = 255


@keras.saving.register_keras_serializable("keras_transfer")
class MeanIoU(keras.metrics.Metric):
    """The mean over classes of intersection over union, of all pixels so far; ignored pixels do not count.

    Classes that neither masks nor answers have do not count either.

    Args:
        classes: Their number.
        ignored: The value of pixels that have no class.

    Example:
        >>> metric = MeanIoU(2)
        >>> metric.update_state(np.array([[[0, 0, 1, 255]]]), np.eye(2)[np.array([[[0, 1, 1, 1]]])])
        >>> float(metric.result())  # 1/2 and 1/2
        0.5
    """

    def __init__(
        self,
        classes: int,
        *,
        ignored: int = IGNORED,
        name: str = "mean_iou",
        dtype: object = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.classes, self.ignored = classes, ignored
        self.counts = self.add_variable((classes, classes), initializer="zeros", name="counts")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch.

        Args:
            y_true: Class ids (batch, height, width[, 1]).
            y_pred: Probabilities (batch, height, width, classes).
            sample_weight: None, or a weight an image.
        """
        ids = ops.cast(y_true, "int32")
        if len(ids.shape) == len(y_pred.shape):
            ids = ids[..., 0]
        ids = ops.where(ops.equal(ids, self.ignored), -1, ids)
        truth = ops.one_hot(ids, self.classes, dtype="float32")
        answers = ops.one_hot(ops.argmax(y_pred, axis=-1), self.classes, dtype="float32")
        if sample_weight is not None:
            weights = ops.cast(ops.not_equal(ops.convert_to_tensor(sample_weight), 0), "float32")
            truth = truth * ops.reshape(weights, (-1, 1, 1, 1))
        truth, answers = (ops.reshape(each, (-1, self.classes)) for each in (truth, answers))
        counts = ops.matmul(ops.transpose(truth), answers)
        self.counts.assign_add(ops.cast(counts, self.counts.dtype))

    def result(self) -> Any:
        """Returns the mean."""
        both = ops.diagonal(self.counts)
        either = ops.sum(self.counts, axis=0) + ops.sum(self.counts, axis=1) - both
        present = ops.cast(either > 0, "float32")
        return ops.sum(both / ops.maximum(either, 1.0)) / ops.maximum(ops.sum(present), 1.0)

    def get_config(self) -> dict:
        """Returns what the constructor takes."""
        return {**super().get_config(), "classes": self.classes, "ignored": self.ignored}


def confusion(
    targets: np.ndarray, answers: np.ndarray, classes: int, *, ignored: int = IGNORED
) -> np.ndarray:
    """Counts the known pixels of each class (row) by what was answered (column).

    Args:
        targets: Class ids, of any shape.
        answers: Class ids, of the same shape.
        classes: Their number.
        ignored: The value of targets that have no class.

    Example:
        >>> confusion(np.array([0, 0, 1, 255]), np.array([0, 1, 1, 1]), 2).tolist()
        [[1, 1], [0, 1]]
    """
    known = targets != ignored
    places = targets[known].astype("int64") * classes + answers[known].astype("int64")
    return np.bincount(places, minlength=classes * classes).reshape(classes, classes)


def border_counts(
    target: np.ndarray, answer: np.ndarray, classes: int, *, ignored: int = IGNORED
) -> np.ndarray:
    """Counts the border pixels of each class of one image, and how many of them the other mask's border meets.

    Two borders meet where they are at most 0.75 % of the diagonal apart (at least one pixel), as in Csurka et al.,
    "What is a good evaluation measure for semantic segmentation?" (2013).

    Args:
        target: Class ids (height, width).
        answer: Class ids (height, width).
        classes: Their number.
        ignored: The value of pixels that have no class; they are no part of the border of an answer either.

    Returns:
        int64 (classes, 4): pixels of the true border, those of them met, pixels of the answer's border, those met.

    Example:
        >>> square = np.zeros((8, 8), "uint8")
        >>> square[2:6, 2:6] = 1
        >>> border_counts(square, square, 2)[1].tolist()
        [12, 12, 12, 12]
    """
    reach = max(1, round(0.0075 * float(np.hypot(*target.shape))))
    known = target != ignored
    counts = np.zeros((classes, 4), "int64")
    for number in np.union1d(target[known], answer[known]):
        borders = [_border((mask == number) & known) & known for mask in (target, answer)]
        for place, (own, other) in enumerate((borders, borders[::-1])):
            near = ndimage.binary_dilation(other, iterations=reach) if other.any() else other
            counts[number, 2 * place : 2 * place + 2] = own.sum(), (own & near).sum()
    return counts


def _border(region: np.ndarray) -> np.ndarray:
    """Returns the pixels of a region that touch what is not in it; the edge of the image is no border."""
    return region & ~ndimage.binary_erosion(region, border_value=1)


def segmentation_scores(
    counts: np.ndarray, names: Sequence[str], *, borders: np.ndarray | None = None
) -> dict:
    """Scores a confusion of pixels, as a dict that goes into JSON as it is.

    `mean_iou` and `dice` are unweighted means over the classes that some mask has, `accuracy` is the share of right
    pixels, `boundary_f1` the mean over the same classes of the F1 of border pixels. `classes` has the scores of each
    class and its share of the pixels (`share`); a class that no mask has has None for its scores.

    Args:
        counts: From `confusion`, summed over images.
        names: Of the classes.
        borders: From `border_counts`, summed over images; None leaves `boundary_f1` out.

    Example:
        >>> scores = segmentation_scores(np.array([[1, 1], [0, 1]]), ["sky", "road"])
        >>> scores["mean_iou"], round(scores["dice"], 4), scores["classes"]["road"]["recall"]
        (0.5, 0.6667, 1.0)
    """
    both = np.diagonal(counts).astype("float64")
    true, answered = counts.sum(axis=1), counts.sum(axis=0)
    classes: dict[str, dict] = {}
    for number, name in enumerate(names):
        own = dict.fromkeys(("iou", "dice", "precision", "recall"))
        if borders is not None:
            own["boundary_f1"] = None
        if true[number]:
            right, union = both[number], true[number] + answered[number] - both[number]
            own["iou"] = float(right / union)
            own["dice"] = float(2 * right / (true[number] + answered[number]))
            own["precision"] = float(right / answered[number]) if answered[number] else 0.0
            own["recall"] = float(right / true[number])
            if borders is not None:
                own["boundary_f1"] = _border_f1(borders[number])
        share = float(true[number] / max(true.sum(), 1))
        classes[str(name)] = {**own, "share": share, "support": int(true[number])}

    seen = [row for row in classes.values() if row["support"]]
    titles = {"mean_iou": "iou", "dice": "dice"}
    if borders is not None:
        titles["boundary_f1"] = "boundary_f1"
    scores: dict = {}
    for title, key in titles.items():
        values = [row[key] for row in seen if row[key] is not None]
        scores[title] = float(np.mean(values)) if values else None
    scores["accuracy"] = float(both.sum() / counts.sum()) if counts.sum() else None
    return {**scores, "classes": classes, "confusion": counts.tolist()}


def segmentation_intervals(
    counts: np.ndarray, *, groups: np.ndarray | None = None
) -> dict[str, list[float]]:
    """Returns the 95 % interval of mean IoU, Dice and accuracy, by the bootstrap over images.

    Args:
        counts: Of each image and class the pixels that are right, answered and true, (images, 3, classes).
        groups: As for `bootstrap_interval`.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> counts = rng.integers(1, 9, (20, 3, 2)) + np.array([[0], [9], [9]])
        >>> sorted(segmentation_intervals(counts))
        ['accuracy', 'dice', 'mean_iou']
    """
    classes = counts.shape[2]

    def score(sums: np.ndarray) -> dict[str, np.ndarray]:
        right, answered, true = np.moveaxis(sums.reshape(-1, 3, classes), 1, 0)
        seen = true > 0
        by_class = {
            "mean_iou": right / np.maximum(true + answered - right, 1),
            "dice": 2 * right / np.maximum(true + answered, 1),
        }
        found = {
            name: intervals.divide(np.where(seen, each, 0).sum(axis=1), seen.sum(axis=1))
            for name, each in by_class.items()
        }
        found["accuracy"] = intervals.divide(right.sum(axis=1), true.sum(axis=1))
        return found

    found = intervals.bootstrap_intervals(score, counts.reshape(len(counts), -1), groups=groups)
    return {name: list(bounds) for name, bounds in found.items() if bounds is not None}


def _border_f1(counts: np.ndarray) -> float | None:
    """Returns the F1 of a class's border pixels; None where its mask has no border within the images."""
    true, met, answered, right = (int(count) for count in counts)
    if not true and not answered:
        return None
    recall, precision = met / max(true, 1), right / max(answered, 1)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
