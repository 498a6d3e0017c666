"""What tasks with an answer for every pixel share: the head, and scores that are means over images."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_transfer import layers
from keras_transfer.core import checks, lookup
from keras_transfer.tasks import base, decoders

__all__ = ["DenseTask", "MeanScorer"]


class DenseTask(base.Task):
    """A task with an answer for every pixel; a subclass says what it is.

    The head joins the maps of all levels of the backbone, P2 to P5, as far as it has them.

    Args:
        decoder: "unet", "fpn" or "deeplab": how the levels are joined.
        width: Channels of the decoder.
        dropout: Share of the decoder's channels that is dropped before the last layer.
        stop_gradient: As for `Task`.

    Example:
        >>> DenseTask(decoder="fpn").width
        64
    """

    levels: tuple[str, ...] = ("P2", "P3", "P4", "P5")
    picture_side = 224

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

    def get_config(self) -> dict:
        """Returns what the constructor takes."""
        config: dict[str, Any] = {
            "decoder": self.decoder,
            "width": self.width,
            "dropout": self.dropout,
        }
        return config | ({"stop_gradient": True} if self.stop_gradient else {})


class MeanScorer(base.Scorer):
    """Adds up the scores of each image; no image is kept.

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
        self.sums: dict[str, float] = {}
        self.counts: dict[str, int] = {}

    @property
    def is_empty(self) -> bool:
        """Whether nothing was added."""
        return not self.images

    def add(self, targets: np.ndarray, outputs: np.ndarray) -> None:
        """Adds a batch."""
        self.images += len(targets)
        for name, values in self.task.score_images(targets, outputs).items():
            known = values[np.isfinite(values)]
            self.sums[name] = self.sums.get(name, 0.0) + float(known.sum())
            self.counts[name] = self.counts.get(name, 0) + len(known)

    def scores(self) -> dict:
        """Returns the mean of each score."""
        scores: dict[str, Any] = {}
        for name, total in self.sums.items():
            count = self.counts[name]
            scores[name] = total / count if count else None
        return {**scores, "support": self.images}

    def baseline(self) -> dict | None:
        """Returns None: there is no single answer to compare with."""
        return None
