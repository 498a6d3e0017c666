"""SmoothGrad."""

import numpy as np

from keras_transfer.core import checks
from keras_transfer.evaluation.explain import base, copies
from keras_transfer.evaluation.explain.subject import Subject

__all__ = ["SmoothGrad"]


class SmoothGrad(base.Explainer):
    """How much pixels move the answer: gradients, averaged over copies of the image with noise (Smilkov et al. 2017).

    Args:
        samples: How many copies.
        noise: Deviation of the noise, as a share of the image's range.
        seed: Of the noise.

    Example:
        >>> SmoothGrad(samples=8).samples
        8
    """

    def __init__(self, *, samples: int = 25, noise: float = 0.15, seed: int = 0) -> None:
        self.samples = checks.integer(samples, name="samples")
        self.noise = checks.number(noise, name="noise", minimum=0)
        self.seed = checks.integer(seed, name="seed", minimum=0, below=checks.SEEDS)

    def explain(self, model: Subject, images: np.ndarray, target: np.ndarray) -> np.ndarray:
        """See `Explainer`."""
        pixels = np.asarray(images, "float32")
        deviation = self.noise * np.ptp(pixels, axis=(1, 2, 3), keepdims=True)

        def disturb(number: int) -> np.ndarray:
            rng = np.random.default_rng([self.seed, number])
            return pixels + deviation * rng.standard_normal(pixels.shape[1:], "float32")

        total = copies.gradients_of_copies(model, pixels, target, disturb, range(self.samples))
        return np.abs(total / self.samples).mean(axis=-1)
