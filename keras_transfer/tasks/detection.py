"""Objects: boxes, classes and how sure the model is."""

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_transfer import layers, losses
from keras_transfer.core import candidates, checks, lookup
from keras_transfer.data.targets import box_rows
from keras_transfer.losses import boxes as box_losses
from keras_transfer.metrics import detection as scoring
from keras_transfer.pages import document, overlays
from keras_transfer.tasks import base, class_scores, naming, towers

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["BoxScorer", "Detection"]

HEADLINES = {  # score: (title, help)
    "map": ("mAP", "average precision, mean over classes and overlaps 0.5 to 0.95"),
    "map50": ("mAP at 0.5", "boxes that overlap by half count"),
    "map75": ("mAP at 0.75", "boxes that overlap by three quarters count"),
    "map_small": ("mAP of small objects", "below 32 x 32 pixels of the model's image"),
    "map_medium": ("mAP of medium objects", "up to 96 x 96 pixels"),
    "map_large": ("mAP of large objects", "above"),
    "recall": ("Recall", "among the 100 surest boxes of an image, mean over overlaps"),
}
COLUMNS = {"ap": "AP", "ap50": "AP at 0.5", "recall": "recall"}
BINS = 16  # a side is at most 15 strides away
HIGHEST = "P5"  # level that a backbone must have; the ones above are made where it lacks them
RARE = -4.6  # logit of 1 %: nearly all candidates are background
NEAR = 1.5  # before softplus: boxes start about 3.4 strides wide
MOST = 100  # boxes of an image
SURE = 0.05  # a box that is less sure is no answer; scores need the unsure ones, too
SHOWN = 0.3  # from which score on a box is drawn and told, until that was chosen
CAPTIONS = 6  # boxes with a caption in one picture
CURVES = 8  # more classes are not drawn
FOUND = [0, 1, 2, 3, 4, 6]  # of a found box: box, class id, score
LEAST = 1e-6  # probability of which a logit is taken
APART = 0.5  # pixels by which boxes of an export may differ


@keras.saving.register_keras_serializable("keras_transfer")
class Detection(base.Task):
    """Finds objects: their boxes, their classes and a score for each.

    Targets are boxes as `kt.data` gives them, `(images, most objects, 6)`: `x1, y1, x2, y2` in pixels of the model's
    image, class id (-1 for no object), whether the object is to be ignored. There are no anchors to fit to the data:
    each place of the maps P3 to P5 of a feature pyramid says how far the sides of a box are, and the loss finds out
    which places learn which object. `model.predict` returns all candidates; where boxes of one class overlap,
    `kt.predict` and exports keep the surest (non-maximum suppression).

    Args:
        classes: Their names, or their number.
        levels: Of the backbone, from the lowest up, such as `("P3", "P4", "P5", "P6")`. Above P5 a level that the
            backbone lacks is made by a convolution of stride 2, for objects that fill large images. None for P3 to P5
            as far as the backbone has them, and for all levels of a pyramid that it brings.
        pyramid: "fpn" for a feature pyramid of the head, "own" for that of the backbone (a detector of KerasHub), which
            is taken wherever there is one.
        width: Channels of the pyramid and the towers.
        depth: Convolutions in each of the two towers, for classes and for boxes.
        overlap: How boxes are compared in the loss: "giou" or "ciou".
        bins: Each distance is learned as a distribution over so many strides, 0 to `bins - 1` (Li et al. 2020); 0
            learns the distance itself, whose boxes are less exact.
        nms: From which overlap on the less sure of two boxes of a class is dropped.
        threshold: From which score on a box counts as found where boxes are listed and drawn; None to choose the best
            F1 on validation. Average precision and exports have the boxes below it, too, down to 0.05.
        chosen: What validation chose, in a saved task.
        stop_gradient: As for `Task`.

    Example:
        >>> import keras_transfer as kt
        >>> model = kt.build_model(kt.backbone("tiny", weights=None), Detection(["cat", "dog"], width=8))
        >>> model.output_shape  # 4 x 4 places of stride 8: box, place, stride, 2 probabilities, 4 x 16 shares
        (None, 16, 73)
    """

    kind = "detection"
    pipeline = "object-detection"
    class_names: list[str]
    score = "map"
    bears_changes = True
    loss_tells_best = False  # it also grows where boxes get better, since scores get surer
    levels: tuple[str, ...] = ("P3", "P4", "P5")
    picture_side = 288
    headlines = HEADLINES
    mistakes_title = "Images with most missed or wrong boxes"
    target_title = "The true boxes"

    def __init__(
        self,
        classes: int | Sequence[str],
        *,
        levels: Sequence[str] | None = None,
        pyramid: str = "fpn",
        width: int = 64,
        depth: int = 2,
        overlap: str = "giou",
        bins: int = BINS,
        nms: float = 0.6,
        threshold: float | None = None,
        chosen: float | None = None,
        stop_gradient: bool = False,
    ) -> None:
        super().__init__(stop_gradient=stop_gradient)
        self.class_names = naming.read_names(classes, argument="classes", minimum=1)
        self.asked_levels = None if levels is None else _check_levels(levels)
        if self.asked_levels is not None:
            self.levels = self.asked_levels
            self.needed_levels = tuple(level for level in self.levels if level <= HIGHEST)
        self.pyramid = checks.choice(pyramid, ("fpn", "own"), name="pyramid")
        self.width = checks.integer(width, name="width")
        self.depth = checks.integer(depth, name="depth", minimum=0)
        lookup.find(overlap, box_losses.OVERLAPS, argument="overlap")
        self.overlap = overlap
        self.bins = checks.integer(bins, name="bins", minimum=0)
        if self.bins == 1:
            raise checks.error("`bins` must be 0, or 2 or more distances", given="1")
        self.nms = checks.number(nms, name="nms", above=0)
        self.threshold = _threshold(threshold)
        self.calibrates = self.threshold is None
        self.chosen = _threshold(chosen)

    @property
    def units(self) -> int:
        """The number of classes."""
        return len(self.class_names)

    def head(
        self,
        features: Mapping[str, keras.KerasTensor],
        *,
        name: str,
        image_size: tuple[int, int] | None = None,
    ) -> keras.KerasTensor:
        """Puts a feature pyramid on the maps, and on each of its levels the same two towers."""
        pyramid = towers.join_levels(
            features,
            width=self.width,
            is_own=self.pyramid == "own",
            levels=self.asked_levels or (),
            name=name,
        )
        scores = keras.layers.Conv2D(
            self.units,
            3,
            padding="same",
            bias_initializer=keras.initializers.Constant(RARE),
            name=f"{name}_logits",
        )
        distances = keras.layers.Conv2D(
            4 * max(self.bins, 1),
            3,
            padding="same",
            bias_initializer=keras.initializers.Constant(0.0 if self.bins else NEAR),
            name=f"{name}_distances",
        )
        sizes = {"width": self.width, "depth": self.depth}
        scores_by_level = towers.put(pyramid, scores, name=f"{name}_class", **sizes)
        distances_by_level = towers.put(pyramid, distances, name=f"{name}_box", **sizes)

        rows = []
        for level in pyramid:
            both = [scores_by_level[level], distances_by_level[level]]
            joined = keras.layers.Concatenate(name=f"{name}_{level}_join")(both)
            decoder = layers.BoxDecoder(
                2 ** int(level[1:]), classes=self.units, bins=self.bins, name=f"{name}_{level}"
            )
            rows.append(decoder(joined))
        candidates_of_all = rows[0]
        if len(rows) > 1:
            join = keras.layers.Concatenate(axis=1, name=f"{name}_candidates")
            candidates_of_all = join(rows)
        return layers.TaskOutput(self, name=name)(candidates_of_all)

    def on_level_ends(self, ends: layers.LevelEnds) -> "Detection":
        """Returns a task whose towers stand on the levels of the trunk's own pyramid."""
        if ends.is_decoded:
            raise checks.error(
                "a detection needs a backbone with several levels",
                given=f"one that ends in a decoder's map, {ends.level_names[0]}",
                fix="Give the preset of its encoder, or of a detector.",
            )
        task = copy.copy(self)
        task.pyramid = "own"
        if self.asked_levels is None:
            task.levels = tuple(ends.level_names)
        return task

    @property
    def limit(self) -> float:
        """From which score on a box counts as found."""
        return self.threshold or self.chosen or SHOWN

    def activate(self, outputs: keras.KerasTensor) -> keras.KerasTensor:
        """Returns the candidates as they are."""
        return outputs

    def evidence(self, logits: Any, answers: Any) -> Any:
        """Returns for each class the logit of its surest candidate."""
        first = candidates.PLACES
        shares = keras.ops.clip(answers[..., first : first + self.units], LEAST, 1 - LEAST)
        return keras.ops.max(keras.ops.log(shares) - keras.ops.log(1 - shares), axis=1)

    def loss(self, targets: np.ndarray | None = None) -> losses.DetectionLoss:
        """Returns the loss of classes and boxes."""
        return losses.DetectionLoss(self.units, overlap=self.overlap, bins=self.bins)

    def metrics(self) -> list[keras.metrics.Metric]:
        """Returns none: average precision needs all images at once."""
        return []

    def encode(self, targets: np.ndarray) -> np.ndarray:
        """Returns float32 rows of objects."""
        rows = np.asarray(targets)
        if rows.ndim != 3 or rows.shape[-1] != 6 or rows.dtype.kind not in "iuf":
            raise checks.error(
                "`labels` must be boxes as kt.data gives them, (images, most objects, 6)",
                given=f"{rows.dtype} of shape {rows.shape}",
                fix='Give a list with {"boxes": [...], "labels": [...]} for each image to kt.data.from_arrays.',
            )
        box_rows.check(rows, classes=self.units)
        return rows.astype("float32")

    def check_targets(self, targets: np.ndarray, image_size: Sequence[int | None]) -> None:
        """Raises an error for rows that are no boxes of images of this size, and guesses which format they have."""
        rows = np.asarray(targets)
        box_rows.check_places(rows, image_size)
        self.encode(rows)

    def check(
        self, targets: np.ndarray, outputs: np.ndarray, *, first: int = 0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns objects (n, most, 6), and found boxes (n, 100, 7): box, class id (-1 for none), 0, score."""
        rows = self.encode(targets)
        return rows, self.find(outputs)

    def find(self, outputs: np.ndarray) -> np.ndarray:
        """Returns the boxes that are left of candidates, (n, 100, 7): box, class id (-1 for none), 0, score."""
        outputs = np.asarray(outputs)
        if outputs.shape[-1] == candidates.PLACES:  # without probabilities: found already
            return outputs
        found = self._suppress(outputs)
        parts = [found[key].numpy() for key in ("boxes", "classes", "scores", "count")]
        boxes, ids, scores, count = parts
        ids = np.where(np.arange(MOST) < count[:, None], ids, -1).astype("float32")
        return np.concatenate(
            [boxes, ids[..., None], np.zeros_like(ids)[..., None], scores[..., None]], axis=-1
        )

    def _suppress(self, outputs: Any) -> dict:
        """Keeps the surest of boxes that overlap, with TensorFlow operations."""
        import tensorflow as tf

        outputs = tf.convert_to_tensor(outputs)
        boxes = outputs[..., candidates.BOX]
        start = candidates.PLACES
        found = tf.image.combined_non_max_suppression(
            tf.gather(boxes, [1, 0, 3, 2], axis=-1)[:, :, None],
            outputs[..., start : start + self.units],
            max_output_size_per_class=MOST,
            max_total_size=MOST,
            iou_threshold=self.nms,
            score_threshold=SURE,
            clip_boxes=False,
        )
        return {
            "boxes": tf.gather(found.nmsed_boxes, [1, 0, 3, 2], axis=-1),
            "scores": found.nmsed_scores,
            "classes": tf.cast(found.nmsed_classes, tf.int32),
            "count": found.valid_detections,
        }

    def calibrate(self, targets: np.ndarray, outputs: np.ndarray) -> str:
        """Chooses the score with the best F1 over all boxes."""
        scores, is_right = [], []
        objects = 0
        for rows, found in zip(self.encode(targets), self.find(outputs), strict=True):
            rows, found = rows[rows[:, 4] >= 0], found[found[:, 4] >= 0]
            owners, on_ignored = scoring.match(rows, found[:, FOUND])
            scores.append(found[~on_ignored, 6])
            is_right.append(owners[~on_ignored] >= 0)
            objects += int((rows[:, 5] == 0).sum())
        self.chosen = scoring.best_threshold(
            np.concatenate(scores), np.concatenate(is_right), objects, default=SHOWN
        )
        return f"boxes count from the score with the best F1 on validation: {self.chosen:.2f}"

    def scorer(self) -> "BoxScorer":
        """Returns what keeps the boxes of all images."""
        return BoxScorer(self)

    def measure(self, targets: np.ndarray, outputs: np.ndarray) -> dict:
        """Returns average precision and recall, also of each class."""
        scorer = self.scorer()
        scorer.add(*self.check(targets, outputs))
        return scorer.scores()

    def errors(self, targets: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        """Returns for each image how many boxes are missed or wrong, as a share of all true and found ones."""
        shares = []
        for rows, found in zip(targets, outputs, strict=True):
            rows, found = rows[rows[:, 4] >= 0], self._surest(found)
            owners, on_ignored = scoring.match(rows, found[:, FOUND])
            wrong = int(((owners < 0) & ~on_ignored).sum())
            missed = int((rows[:, 5] == 0).sum() - (owners >= 0).sum())
            shares.append((wrong + missed) / max(len(rows) + wrong, 1))
        return np.array(shares)

    def describe(self, value: np.ndarray) -> str:
        """Returns how many objects of each class there are."""
        rows = self._rows(value)
        counts = np.bincount(rows[:, 4].astype(int), minlength=self.units)
        texts = [
            f"{count} {name}" for count, name in zip(counts, self.class_names, strict=True) if count
        ]
        return ", ".join(texts) or "nothing"

    def describe_error(self, error: float) -> str:
        """Returns how many boxes are wrong."""
        return f"{error:.0%} of the boxes are missed or wrong"

    def draw(
        self, picture: np.ndarray, value: np.ndarray, *, image_size: tuple[int, int]
    ) -> np.ndarray:
        """Returns the picture with the boxes on it."""
        rows = self._rows(value)
        scale = np.array(picture.shape[:2]) / np.array(image_size)
        names = [self.class_names[int(number)] for number in rows[:, 4]]
        if rows.shape[-1] == 7:
            names = [f"{name} {score:.0%}" for name, score in zip(names, rows[:, 6], strict=True)]
        if len(rows) > CAPTIONS:  # they would hide the objects
            names = [""] * len(rows)
        boxes = rows[:, :4] * np.array([scale[1], scale[0], scale[1], scale[0]])
        return overlays.draw_boxes(picture, boxes, names, rows[:, 4].astype(int).tolist())

    def _rows(self, value: np.ndarray) -> np.ndarray:
        """Returns the true boxes of one image, or those found ones that are sure enough."""
        if value.shape[-1] == 6:
            return value[value[:, 4] >= 0]
        return self._surest(self.find(value[None])[0])

    def _surest(self, rows: np.ndarray) -> np.ndarray:
        """Returns those found boxes of one image that count as found."""
        return rows[(rows[:, 4] >= 0) & (rows[:, 6] >= self.limit)]

    def text(self, scores: Mapping) -> list[str]:
        """Returns a table of classes, and the numbers."""
        lines = class_scores.lines(scores["classes"], columns=tuple(COLUMNS), order="ap")
        return [*lines, *super().text(scores)]

    def figures(
        self, scores: Mapping, targets: np.ndarray | None, outputs: np.ndarray | None
    ) -> "dict[str, Figure]":
        """Returns precision against recall of the first classes, for boxes that overlap by half."""
        from keras_transfer.pages import plots  # brings matplotlib

        recalls = np.linspace(0, 1, 101).tolist()
        curves = {}
        for class_name, row in list(scores["classes"].items())[:CURVES]:
            if row["curve"]:
                curves[class_name] = recalls, row["curve"]
        return {"precision_recall": plots.precision_lines(curves)} if curves else {}

    def section(
        self,
        scores: Mapping,
        targets: np.ndarray | None,
        outputs: np.ndarray | None,
        *,
        name: str,
    ) -> str:
        """Returns colours, the table of classes, and precision against recall for boxes that overlap by half."""
        table = class_scores.legend(self.class_names)
        table += class_scores.table(scores["classes"], columns=COLUMNS, support="objects")
        figures = self.figures(scores, targets, outputs)
        if not figures:
            return table
        from keras_transfer.pages import plots  # brings matplotlib

        label = "Precision against recall of each class, for boxes that overlap by half"
        picture = plots.svg(figures["precision_recall"], name=f"recall-{name}", label=label)
        return table + document.box("Precision and recall", f"<figure>{picture}</figure>")

    def decode(self, outputs: Any) -> dict:
        """Returns `boxes` in pixels of the model's image, `scores`, `classes` (names) and `count`: 100 an image."""
        import tensorflow as tf

        found = self._suppress(outputs)
        names = tf.constant([*self.class_names, ""])
        is_found = tf.range(MOST)[None] < found["count"][:, None]
        ids = tf.where(is_found, found["classes"], self.units)
        return {**found, "classes": tf.gather(names, ids)}

    def compact(self, outputs: np.ndarray) -> np.ndarray:
        """Returns the boxes that are left of the candidates."""
        return self.find(outputs)

    def place(self, answers: Mapping, scales: Any) -> dict:
        """Returns the answers of `decode` in pixels of the pictures that were given.

        Args:
            answers: From `decode`.
            scales: Height and width of each picture, as a share of the model's image.
        """
        import tensorflow as tf

        factors = tf.gather(tf.cast(scales, tf.float32), [1, 0, 1, 0], axis=-1)
        return {**answers, "boxes": answers["boxes"] * factors[:, None]}

    def differences(self, key: str, expected: np.ndarray, given: np.ndarray) -> np.ndarray | None:
        """Compares boxes and classes as sets: two that are equally sure may change places."""
        if key == "boxes":
            gaps = np.abs(expected[:, :, None] - given[:, None]).max(axis=-1)
            gaps = np.maximum(gaps.min(axis=1).max(axis=-1), gaps.min(axis=2).max(axis=-1))
            return np.where(gaps <= APART, 0.0, gaps)
        if key == "classes":
            return (np.sort(expected, axis=1) != np.sort(given, axis=1)).mean(axis=1)
        return None

    def answer(self, output: np.ndarray, *, top: int = 3) -> dict[str, float]:
        """Returns the highest score of each class that was found, by name."""
        rows = self.find(output[None])[0]
        best: dict[str, float] = {}
        for row in rows[rows[:, 4] >= 0]:
            best.setdefault(self.class_names[int(row[4])], round(float(row[6]), 6))
        return dict(list(best.items())[:top])

    def row(
        self, output: np.ndarray, *, top: int = 3, scale: tuple[float, float] = (1.0, 1.0)
    ) -> dict:
        """Returns the found boxes that are sure enough, in pixels of the picture that was given."""
        rows = self._surest(self.find(output[None])[0])
        factors = np.array([scale[1], scale[0], scale[1], scale[0]])
        return {
            "label": self.describe(rows),
            "boxes": np.round(rows[:, :4] * factors, 2).tolist(),
            "labels": [self.class_names[int(number)] for number in rows[:, 4]],
            "scores": [round(float(score), 4) for score in rows[:, 6]],
        }

    def get_config(self) -> dict:
        """Returns what the constructor takes."""
        config = {
            "classes": self.class_names,
            "levels": self.asked_levels,
            "pyramid": self.pyramid,
            "width": self.width,
            "depth": self.depth,
            "overlap": self.overlap,
            "bins": self.bins,
            "nms": self.nms,
            "threshold": self.threshold,
            "chosen": self.chosen,
        }
        return config | ({"stop_gradient": True} if self.stop_gradient else {})

    @classmethod
    def example(cls, **options: Any) -> tuple["Detection", np.ndarray]:
        """Returns two classes; images with two objects, one, one to be ignored, and none."""
        empty = [0, 0, 0, 0, -1, 0]
        rows = [
            [[2, 2, 14, 14, 0, 0], [16, 8, 30, 30, 1, 0]],
            [[4, 10, 28, 26, 1, 0], empty],
            [[1, 1, 20, 20, 0, 0], [20, 20, 31, 31, 1, 1]],
            [empty, empty],
        ]
        task = cls(["cat", "dog"], width=8, depth=1, bins=options.get("bins", 4))
        return task, np.array(rows, "float32")


class BoxScorer(base.Scorer):
    """Keeps the boxes of all images, which are small.

    Args:
        task: A detection.

    Example:
        >>> BoxScorer(Detection(["cat"])).is_empty
        True
    """

    task: Detection

    def add(self, targets: np.ndarray, outputs: np.ndarray) -> None:
        """Adds the boxes of a batch, without padding."""
        self._targets += [rows[rows[:, 4] >= 0] for rows in targets]
        self._outputs += [rows[rows[:, 4] >= 0] for rows in outputs]

    def scores(self) -> dict:
        """Returns the scores of all images."""
        found = [rows[:, FOUND] for rows in self._outputs]
        return scoring.detection_scores(self._targets, found, self.task.class_names)

    def baseline(self) -> None:
        """Returns None: no answer is the same for all images and finds objects."""


def _check_levels(levels: Sequence[str]) -> tuple[str, ...]:
    """Returns levels that are neighbours, from the lowest up."""
    known = [f"P{number}" for number in range(2, 8)]
    asked = [levels] if isinstance(levels, str) else list(levels)
    start = known.index(asked[0]) if asked and asked[0] in known else 0
    if not asked or asked != known[start : start + len(asked)] or asked[0] > HIGHEST:
        raise checks.error(
            "`levels` must be neighbours from the lowest up, beginning with P2 to P5",
            given=repr(levels),
            fix='For example ("P3", "P4", "P5", "P6").',
        )
    return tuple(asked)


def _threshold(value: float | None) -> float | None:
    return None if value is None else checks.number(value, name="threshold", above=0, below=1)
