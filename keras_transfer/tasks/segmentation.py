"""A class for every pixel."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from keras_transfer import losses, metrics
from keras_transfer.core import checks
from keras_transfer.data.targets import columns
from keras_transfer.data.targets import masks as mask_labels
from keras_transfer.metrics import segmentation as scoring
from keras_transfer.pages import document, overlays
from keras_transfer.tasks import base, class_scores, dense, naming

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Segmentation"]

HEADLINES = {  # score: (title, help)
    "mean_iou": ("Mean IoU", "intersection over union, mean over classes"),
    "dice": ("Dice", "mean over classes"),
    "accuracy": ("Accuracy", "share of right pixels"),
    "boundary_f1": ("Border F1", "how well borders are met, mean over classes"),
}
COLUMNS = {
    "iou": "IoU",
    "dice": "Dice",
    "precision": "precision",
    "recall": "recall",
    "boundary_f1": "border F1",
}
MANY = 255  # classes at most: masks are bytes, and one value is for pixels without a class
NAMED = 4  # classes that a mask is described by
UNLIKE = 1e-3  # share of pixels that may differ where two classes are equally likely


@keras.saving.register_keras_serializable("keras_transfer")
class Segmentation(dense.DenseTask):
    """Answers with the probability of each class at every pixel of the model's image.

    Masks are class ids `(images, height, width)`; pixels of value `ignored` count neither in losses nor in scores. The
    head joins the maps of all levels of the backbone, P2 to P5, as far as it has them. Objects of one class are not
    told apart (no instances).

    Args:
        classes: Their names, or their number.
        decoder: "unet", "fpn" or "deeplab": how the levels are joined.
        width: Channels of the decoder.
        loss: One or several of "crossentropy", "focal", "dice" and "lovasz", which are added; see
            `kt.losses.SegmentationLoss`.
        class_weights: None, "balanced", "effective", a dict by name or a list: what pixels of each class cost, as for
            `Classification`.
        ignored: The value of pixels that have no class, 255 in masks of `kt.data`.
        dropout: Share of the decoder's channels that is dropped before the last layer.
        stop_gradient: As for `Task`.

    Example:
        >>> import keras_transfer as kt
        >>> model = kt.build_model(kt.backbone("tiny", weights=None), Segmentation(["sky", "road"], width=8))
        >>> model.output_shape
        (None, 32, 32, 2)
    """

    kind = "segmentation"
    pipeline = "image-segmentation"
    class_names: list[str]
    score = "mean_iou"
    bears_changes = True
    monitor = "mean_iou"
    headlines = HEADLINES
    mistakes_title = "Images with most wrong pixels"
    target_title = "The true mask"
    is_smooth = False
    beyond = MANY

    def __init__(
        self,
        classes: int | Sequence[str],
        *,
        decoder: str = "unet",
        width: int = 64,
        loss: str | Sequence[str] = ("crossentropy", "dice"),
        class_weights: str | Mapping[str, float] | Sequence[float] | None = None,
        ignored: int = 255,
        dropout: float = 0.0,
        stop_gradient: bool = False,
    ) -> None:
        super().__init__(decoder=decoder, width=width, dropout=dropout, stop_gradient=stop_gradient)
        self.class_names = naming.read_names(classes, argument="classes", minimum=2)
        if len(self.class_names) > MANY:
            given = f"{len(self.class_names)}"
            raise checks.error(f"`classes` must be at most {MANY} for masks", given=given)
        self.chosen_loss = [loss] if isinstance(loss, str) else list(loss)
        losses.SegmentationLoss(self.chosen_loss)  # raises an error for a name that is none
        self.class_weights = naming.read_class_weights(class_weights, self.class_names)
        self.ignored = checks.integer(ignored, name="ignored", minimum=0)
        if self.ignored < len(self.class_names):
            given = f"{self.ignored}, which is {self.class_names[self.ignored]!r}"
            raise checks.error("`ignored` must be no class id", given=given)

    @property
    def units(self) -> int:
        """The number of classes."""
        return len(self.class_names)

    def activate(self, outputs: keras.KerasTensor) -> keras.KerasTensor:
        """Softmax over classes."""
        return ops.softmax(outputs)

    def loss(self, targets: np.ndarray | None = None) -> losses.SegmentationLoss:
        """Returns the sum of the chosen losses; weights that come from the training data are of its pixels."""
        weights = self.class_weights
        if isinstance(weights, str) and targets is not None:
            is_files = isinstance(targets, columns.FileColumn)  # counted when they were checked
            counted = targets if is_files else self.encode(targets)
            pixels = mask_labels.pixels_of(counted, self.units).sum(axis=0)
            weights = losses.WEIGHTS[weights](pixels).tolist()
        return losses.SegmentationLoss(
            self.chosen_loss, class_weights=weights, ignored=self.ignored
        )

    def needs_targets(self) -> bool:
        """Whether class weights come from the training data."""
        return isinstance(self.class_weights, str)

    def metrics(self) -> list[keras.metrics.Metric]:
        """Returns the mean IoU."""
        return [metrics.MeanIoU(self.units, ignored=self.ignored)]

    def encode(self, targets: np.ndarray) -> np.ndarray:
        """Returns class ids, uint8 (masks, height, width)."""
        masks = np.asarray(targets)
        if masks.ndim == 4 and masks.shape[-1] == 1:
            masks = masks[..., 0]
        is_whole = masks.dtype.kind in "iub" or (
            masks.dtype.kind == "f" and np.array_equal(masks, np.rint(masks))
        )
        if masks.ndim != 3 or not is_whole:
            raise checks.error(
                "`labels` must be masks of class ids, (images, height, width)",
                given=f"{masks.dtype} of shape {masks.shape}",
            )
        if masks.dtype != np.uint8 or masks.size:
            self._check_ids(masks)
        return masks.astype("uint8")

    def _check_ids(self, masks: np.ndarray, *, first: int = 0) -> None:
        for index, mask in enumerate(masks):
            wrong = (mask < 0) | ((mask >= self.units) & (mask != self.ignored))
            if wrong.any():
                given = f"{mask[wrong][0]} in mask {first + index}"
                fix = f"Pixels without a class have the value {self.ignored}."
                expected = f"masks must have class ids from 0 to {self.units - 1}"
                raise checks.error(expected, given=given, fix=fix)

    def check(
        self, targets: np.ndarray, outputs: np.ndarray, *, first: int = 0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns two arrays of class ids."""
        answers = np.asarray(outputs)
        if answers.ndim == 4:
            answers = answers.argmax(axis=-1)
        truth = np.asarray(targets)
        if truth.ndim == 4 and truth.shape[-1] == 1:
            truth = truth[..., 0]
        if truth.shape != answers.shape:
            raise checks.error(f"masks must have the shape {answers.shape}", given=truth.shape)
        self._check_ids(truth, first=first)
        return truth.astype("uint8"), answers.astype("uint8")

    def scorer(self) -> "PixelScorer":
        """Returns what counts pixels."""
        return PixelScorer(self)

    def errors(self, targets: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        """Returns the share of wrong pixels of each image."""
        known = targets != self.ignored
        wrong = (known & (targets != outputs)).sum(axis=(1, 2))
        return wrong / np.maximum(known.sum(axis=(1, 2)), 1)

    def describe(self, value: np.ndarray) -> str:
        """Returns the largest classes of a mask, with their shares."""
        ids = _ids(value)
        known = ids[ids != self.ignored]
        counts = np.bincount(known.ravel(), minlength=self.units)
        largest = [at for at in np.argsort(-counts, kind="stable")[:NAMED] if counts[at]]
        texts = [f"{self.class_names[at]} {counts[at] / known.size:.0%}" for at in largest]
        return ", ".join(texts) or "no known pixel"

    def describe_error(self, error: float) -> str:
        """Returns how many pixels are wrong."""
        return f"{error:.1%} of the pixels are wrong"

    def draw(
        self, picture: np.ndarray, value: np.ndarray, *, image_size: tuple[int, int]
    ) -> np.ndarray:
        """Returns the picture with each region in the colour of its class."""
        ids = _ids(value)
        return overlays.paint_mask(picture, ids, ignored=self.ignored)

    def text(self, scores: Mapping) -> list[str]:
        """Returns a table of classes, and the numbers."""
        lines = class_scores.lines(scores["classes"], columns=tuple(COLUMNS), order="iou")
        return [*lines, *super().text(scores)]

    def figures(
        self, scores: Mapping, targets: np.ndarray | None, outputs: np.ndarray | None
    ) -> "dict[str, Figure]":
        """Returns how pixels of each class are answered, in percent."""
        from keras_transfer.pages import plots  # brings matplotlib

        counts = np.array(scores["confusion"], "float64")
        shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        names = list(scores["classes"])
        return {"confusion": plots.confusion(np.rint(shares).astype(int), names)}

    def section(
        self,
        scores: Mapping,
        targets: np.ndarray | None,
        outputs: np.ndarray | None,
        *,
        name: str,
    ) -> str:
        """Returns the colours, the table of classes and the confusion of pixels."""
        from keras_transfer.pages import plots  # brings matplotlib

        label = (
            "Share of each true class's pixels by answer, in percent: rows true, columns predicted"
        )
        figure = self.figures(scores, targets, outputs)["confusion"]
        picture = plots.svg(figure, name=f"confusion-{name}", label=label)
        return (
            class_scores.legend(self.class_names)
            + class_scores.table(scores["classes"], columns=COLUMNS, support="pixels")
            + document.box(
                "Confusion of pixels, in percent of the true class",
                f'<figure class="scroll" tabindex="0">{picture}</figure>',
            )
        )

    def decode(self, outputs: Any) -> dict:
        """Returns `mask`, class ids; exports add `mask_png`, the same as a PNG file."""
        import tensorflow as tf

        return {"mask": tf.cast(tf.argmax(outputs, axis=-1), tf.uint8)}

    def differences(self, key: str, expected: np.ndarray, given: np.ndarray) -> np.ndarray | None:
        """Compares masks pixel by pixel: a few may differ where two classes are equally likely."""
        if key == "mask":
            shares = (expected != given).mean(axis=(1, 2))
            return np.where(shares <= UNLIKE, 0.0, shares)
        return np.zeros(len(expected)) if key == "mask_png" else None  # a copy of the mask

    def answer(self, output: np.ndarray, *, top: int = 3) -> dict[str, float]:
        """Returns the shares of the largest classes by name."""
        counts = np.bincount(_ids(output).ravel(), minlength=self.units)
        largest = [at for at in np.argsort(-counts, kind="stable")[:top] if counts[at]]
        return {self.class_names[at]: round(float(counts[at] / counts.sum()), 6) for at in largest}

    def compact(self, outputs: np.ndarray) -> np.ndarray:
        """Returns the class ids of the masks."""
        return _ids(outputs).astype("uint8")

    def row(
        self, output: np.ndarray, *, top: int = 3, scale: tuple[float, float] = (1.0, 1.0)
    ) -> dict:
        """Returns the shares of the largest classes, and the mask in the size of the picture that was given."""
        ids = _ids(output).astype("uint8")
        masks = dense.fit_to_pictures(ids[None], [scale], is_smooth=False)
        return {**super().row(output, top=top), "mask": masks.numpy()[0]}

    def get_config(self) -> dict:
        """Returns what the constructor takes."""
        own = {
            "classes": self.class_names,
            "loss": self.chosen_loss,
            "class_weights": self.class_weights,
            "ignored": self.ignored,
        }
        return {**super().get_config(), **own}

    @classmethod
    def example(cls, **options: Any) -> tuple["Segmentation", np.ndarray]:
        """Returns three classes, in quarters of the images, and some pixels without a class."""
        masks = np.zeros((4, 32, 32), "uint8")
        masks[:, :16, 16:] = 1
        masks[1, 16:] = 2
        masks[2, :, :4] = 255
        task = cls(["sky", "road", "tree"], width=8, dropout=options.get("dropout", 0.0))
        return task, masks


class PixelScorer(base.Scorer):
    """Counts pixels and border pixels by class; no mask is kept.

    Args:
        task: A segmentation.

    Example:
        >>> scorer = PixelScorer(Segmentation(2))
        >>> scorer.add(np.zeros((1, 4, 4), "uint8"), np.zeros((1, 4, 4), "uint8"))
        >>> scorer.scores()["mean_iou"]
        1.0
    """

    task: Segmentation

    def __init__(self, task: Segmentation) -> None:
        super().__init__(task)
        self.images = 0
        self.counts = np.zeros((task.units, task.units), "int64")
        self.borders = np.zeros((task.units, 4), "int64")
        self._by_image: list[np.ndarray] = []  # (right, answered, true) pixels of each class

    @property
    def is_empty(self) -> bool:
        """Whether nothing was added."""
        return not self.images

    def add(self, targets: np.ndarray, outputs: np.ndarray) -> None:
        """Adds a batch of masks."""
        self.images += len(targets)
        options = {"ignored": self.task.ignored}
        for target, answer in zip(targets, outputs, strict=True):
            counts = scoring.confusion(target, answer, self.task.units, **options)
            self.counts += counts
            row = np.stack([counts.diagonal(), counts.sum(axis=0), counts.sum(axis=1)])
            self._by_image.append(row.astype("float32"))
            self.borders += scoring.border_counts(target, answer, self.task.units, **options)

    def scores(self) -> dict:
        """Returns the scores of all masks."""
        scores = scoring.segmentation_scores(
            self.counts, self.task.class_names, borders=self.borders
        )
        bounds = scoring.segmentation_intervals(np.stack(self._by_image), groups=self.groups)
        return {**scores, "support": self.images, "intervals": bounds}

    def baseline(self) -> dict | None:
        """Compares with answering the most frequent class everywhere; None where all pixels are of one class."""
        sizes = self.counts.sum(axis=1)
        if (sizes > 0).sum() < 2:
            return None
        constant = np.zeros_like(self.counts)
        constant[:, int(sizes.argmax())] = sizes
        own = scoring.segmentation_scores(self.counts, self.task.class_names)
        best = scoring.segmentation_scores(constant, self.task.class_names)
        return {
            "answer": repr(self.task.class_names[int(sizes.argmax())]),
            "scores": {key: best[key] for key in ("mean_iou", "dice", "accuracy")},
            "is_beaten": own["mean_iou"] > best["mean_iou"],
        }


def _ids(masks: np.ndarray) -> np.ndarray:
    """Returns class ids of masks that may be probabilities, the classes last."""
    return masks.argmax(axis=-1) if masks.dtype.kind == "f" else masks
