"""Score-CAM."""

import keras
import numpy as np

from keras_transfer.core import checks
from keras_transfer.evaluation.explain import base, copies
from keras_transfer.evaluation.explain.subject import Subject

__all__ = ["ScoreCAM"]


class ScoreCAM(base.Explainer):
    """Weighs a channel by the answer where only the places that it shows are left of the image (Wang et al. 2020).

    It needs no gradients, but a pass for each channel.

    Args:
        channels: How many channels to try, those that vary most over places (Li et al. 2021); None for all.

    Example:
        >>> ScoreCAM(channels=None).channels is None
        True
    """

    needs_places = True

    def __init__(self, channels: int | None = 64) -> None:
        self.channels = None if channels is None else checks.integer(channels, name="channels")

    def explain(self, model: Subject, images: np.ndarray, target: np.ndarray) -> np.ndarray:
        """See `Explainer`."""
        features = keras.ops.convert_to_numpy(model.features(images)[0]).astype("float32")
        chosen = self._strongest(features)
        features = np.take_along_axis(features, chosen[:, None, None], axis=-1)

        least = features.min(axis=(1, 2), keepdims=True)
        span = features.max(axis=(1, 2), keepdims=True) - least
        masks = (features - least) / np.where(span == 0, 1, span)
        enlarged = keras.ops.image.resize(masks, images.shape[1:3], interpolation="bilinear")
        masks = keras.ops.convert_to_numpy(enlarged)

        scores = copies.evidence_of_copies(
            model,
            images,
            target,
            lambda channel: images * masks[..., channel, None],
            features.shape[-1],
        )
        weights = np.exp(scores - scores.max(axis=0))
        weights = (weights / weights.sum(axis=0)).T[:, None, None]
        return np.maximum((weights * features).sum(axis=-1), 0)

    def _strongest(self, features: np.ndarray) -> np.ndarray:
        """Returns the numbers of the channels to try, (images, channels)."""
        spread = features.std(axis=(1, 2))
        count = min(self.channels or spread.shape[1], spread.shape[1])
        return np.argsort(-spread, axis=1, kind="stable")[:, :count]
