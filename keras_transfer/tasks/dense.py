"""What tasks with an answer for every pixel share: the head, scores that are means over images, answers as files."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_transfer import layers
from keras_transfer.core import checks, lookup
from keras_transfer.metrics import intervals
from keras_transfer.tasks import base, decoders

__all__ = ["DenseTask", "MeanScorer", "as_files", "fit_to_pictures"]


class DenseTask(base.Task):
    """A task with an answer for every pixel; a subclass says what it is.

    The head joins the maps of all levels of the backbone, P2 to P5, as far as it has them.

    Args:
        decoder: "unet", "fpn" or "deeplab": how the levels are joined. On a backbone that ends in a decoder (as
            KerasHub's segmenters do) it is "own", whatever was asked for.
        width: Channels of the decoder.
        dropout: Share of the decoder's channels that is dropped before the last layer.
        stop_gradient: As for `Task`.

    Example:
        >>> DenseTask(decoder="fpn").width
        64
    """

    levels: tuple[str, ...] = ("P2", "P3", "P4", "P5")
    picture_side = 224

    is_smooth = True
    """Whether a map in another size has values in between; class ids have none."""

    beyond = 0
    """What a map has around a picture that is smaller than the largest of its batch."""

    def __init__(
        self,
        *,
        decoder: str = "unet",
        width: int = 64,
        dropout: float = 0.0,
        stop_gradient: bool = False,
    ) -> None:
        super().__init__(dropout=dropout, stop_gradient=stop_gradient)
        lookup.find(decoder, decoders.DECODERS, argument="decoder")
        self.decoder = decoder
        self.width = checks.integer(width, name="width")

    def head(
        self,
        features: Mapping[str, keras.KerasTensor],
        *,
        name: str,
        image_size: tuple[int, int] | None = None,
    ) -> keras.KerasTensor:
        """Joins the maps, and enlarges what comes of them to the size of the image."""
        x = decoders.DECODERS[self.decoder](features, width=self.width, name=name)
        times = decoders.factor(next(iter(features)))
        if image_size is not None:  # before the logits: these are their bias there, not 0
            x = decoders.cover(x, image_size, times=times, name=f"{name}_image")
        x = self._drop(x, f"{name}_dropout")
        x = keras.layers.Conv2D(self.units, 1, name=f"{name}_logits")(x)
        if image_size is not None:
            x = decoders.enlarge(x, image_size, times=times, name=f"{name}_image")
        return layers.TaskOutput(self, name=name)(x)

    def on_level_ends(self, ends: layers.LevelEnds) -> "DenseTask":
        """Returns a task whose head stands on the map of the trunk's own decoder, where it has one."""
        if not ends.is_decoded:
            return self
        task = copy.copy(self)
        task.decoder, task.levels = "own", tuple(ends.level_names)
        return task

    def check_shape(self, targets: Sequence[int | None], answers: Sequence[int | None]) -> None:
        """Targets have the height and width of the answers."""
        given, wanted = tuple(targets[1:3]), tuple(answers[1:3])
        if len(targets) > 2 and any(
            side is not None and side != own for side, own in zip(given, wanted, strict=True)
        ):
            raise checks.error(
                f"`labels` of a {self.kind} must have {wanted[0]} x {wanted[1]} pixels, as the model's answers",
                given=f"{given[0]} x {given[1]}",
            )

    def scorer(self) -> base.Scorer:
        """Returns what adds up the scores of each image."""
        return MeanScorer(self)

    def score_images(self, targets: np.ndarray, outputs: np.ndarray) -> dict[str, np.ndarray]:
        """Returns each score of each image; NaN where an image has nothing to score."""
        raise NotImplementedError

    def measure(self, targets: np.ndarray, outputs: np.ndarray) -> dict:
        """Returns the scores of all images together."""
        scorer = self.scorer()
        scorer.add(*self.check(targets, outputs))
        return scorer.scores()

    def place(self, answers: Mapping, scales: Any) -> dict:
        """Returns the maps of `decode` in the size of the pictures that were given.

        Pictures of one batch may have different sizes: a map is as large as the largest, and around a smaller picture
        it has the value `beyond`. Bytes of PNG files have the size of their picture.
        """
        placed = {}
        for key, maps in answers.items():
            placed[key] = fit_to_pictures(
                maps, scales, is_smooth=self.is_smooth, beyond=self.beyond
            )
            if self.has_files(maps):
                placed[f"{key}_png"] = as_files(placed[key], maps, scales)
        return placed

    def has_files(self, maps: Any) -> bool:
        """Whether a PNG file can hold an answer."""
        return maps.dtype == "uint8" and (len(maps.shape) == 3 or maps.shape[-1] in (1, 3, 4))

    def get_config(self) -> dict:
        """Returns what the constructor takes."""
        config: dict[str, Any] = {
            "decoder": self.decoder,
            "width": self.width,
            "dropout": self.dropout,
        }
        return config | ({"stop_gradient": True} if self.stop_gradient else {})


class MeanScorer(base.Scorer):
    """Keeps the scores of each image; no image is kept.

    Args:
        task: A task with `score_images`.

    Example:
        >>> MeanScorer(DenseTask()).is_empty
        True
    """

    task: DenseTask

    def __init__(self, task: DenseTask) -> None:
        super().__init__(task)
        self.images = 0
        self.values: dict[str, list[np.ndarray]] = {}

    @property
    def is_empty(self) -> bool:
        """Whether nothing was added."""
        return not self.images

    def add(self, targets: np.ndarray, outputs: np.ndarray) -> None:
        """Adds a batch."""
        self.images += len(targets)
        for name, values in self.task.score_images(targets, outputs).items():
            self.values.setdefault(name, []).append(np.asarray(values, "float64"))

    def scores(self) -> dict:
        """Returns the mean of each score over images, and its 95 % interval."""
        scores: dict[str, Any] = {}
        found: dict[str, list[float]] = {}
        for name, parts in self.values.items():
            values = np.concatenate(parts)
            is_known = np.isfinite(values)
            known, groups = values[is_known], None
            scores[name] = float(known.mean()) if len(known) else None
            if self.groups is not None:
                groups = self.groups[is_known]
            bounds = intervals.mean_interval(known, groups=groups)
            if bounds is not None:
                found[name] = list(bounds)
        return {**scores, "support": self.images, "intervals": found}

    def baseline(self) -> dict | None:
        """Returns None: there is no single answer to compare with."""
        return None


def fit_to_pictures(maps: Any, scales: Any, *, is_smooth: bool, beyond: int = 0) -> Any:
    """Returns maps in the sizes of the pictures that were given, with TensorFlow operations.

    Args:
        maps: (batch, height, width) or (batch, height, width, channels).
        scales: Height and width of each picture as a share of the model's image, (batch, 2).
        is_smooth: Whether to interpolate; else each pixel has the value of the nearest one.
        beyond: The value around pictures that are smaller than the largest one.

    Example:
        >>> maps = np.array([[[1, 2], [3, 4]]] * 2)
        >>> fit_to_pictures(maps, [[1, 2], [0.5, 1]], is_smooth=False, beyond=9).numpy().tolist()
        [[[1, 1, 2, 2], [3, 3, 4, 4]], [[3, 4, 9, 9], [9, 9, 9, 9]]]
    """
    import tensorflow as tf

    maps = tf.convert_to_tensor(maps)
    sizes = _sizes(maps, scales)
    largest = tf.reduce_max(sizes, axis=0)
    method = "bilinear" if is_smooth else "nearest"

    def fit(pair: tuple) -> Any:
        one, size = pair
        pixels = one if len(one.shape) == 3 else one[..., None]
        fitted = tf.image.resize(pixels, size, method=method, antialias=is_smooth)
        if is_smooth and maps.dtype.is_integer:
            fitted = tf.round(fitted)
        around = tf.stack([[0, largest[0] - size[0]], [0, largest[1] - size[1]], [0, 0]])
        fitted = tf.pad(tf.cast(fitted, maps.dtype), around, constant_values=beyond)
        return fitted if len(one.shape) == 3 else fitted[..., 0]

    shape = (None, None, *maps.shape[3:])
    return tf.map_fn(fit, (maps, sizes), fn_output_signature=tf.TensorSpec(shape, maps.dtype))


def as_files(fitted: Any, maps: Any, scales: Any) -> Any:
    """Returns maps as the bytes of PNG files, each in the size of its picture.

    Args:
        fitted: From `fit_to_pictures`, uint8.
        maps: What that was given.
        scales: What that was given.

    Example:
        >>> maps = np.zeros((1, 4, 4), "uint8")
        >>> file = as_files(fit_to_pictures(maps, [[2, 3]], is_smooth=False), maps, [[2, 3]])[0]
        >>> import tensorflow as tf
        >>> tf.io.decode_png(file).shape
        TensorShape([8, 12, 1])
    """
    import tensorflow as tf

    def encode(pair: tuple) -> Any:
        one, size = pair
        pixels = one[: size[0], : size[1]]
        return tf.io.encode_png(pixels if len(one.shape) == 3 else pixels[..., None])

    pairs = (tf.convert_to_tensor(fitted), _sizes(maps, scales))
    return tf.map_fn(encode, pairs, fn_output_signature=tf.string)


def _sizes(maps: Any, scales: Any) -> Any:
    """Returns height and width of each picture, at least one pixel, as whole numbers."""
    import tensorflow as tf

    own = tf.cast(tf.shape(maps)[1:3], tf.float32)
    return tf.maximum(tf.cast(tf.round(tf.cast(scales, tf.float32) * own), tf.int32), 1)
