"""Integrated gradients."""

import numpy as np

from keras_transfer.core import checks
from keras_transfer.evaluation.explain import base
from keras_transfer.evaluation.explain.subject import Subject

__all__ = ["IntegratedGradients"]

FIRST, MOST = 16, 512  # steps, where their number is left open


class IntegratedGradients(base.Explainer):
    """Gradients along the way from a plain image to this one, times the way (Sundararajan et al. 2017).

    The numbers of a map add up to the difference that the image makes to the evidence: the map is complete. It has
    numbers below 0 for pixels that speak against the answer.

    Args:
        baseline: Value of the plain image's pixels, 0 to 255.
        steps: Of the way; None for as many as make each map complete up to `tolerance`, at most 512.
        tolerance: The largest gap, as a share of the difference.

    Example:
        >>> IntegratedGradients(steps=50).steps
        50
    """

    is_signed = True

    def __init__(
        self, *, baseline: float = 0.0, steps: int | None = None, tolerance: float = 0.01
    ) -> None:
        self.baseline = checks.number(baseline, name="baseline")
        self.steps = None if steps is None else checks.integer(steps, name="steps")
        self.tolerance = checks.number(tolerance, name="tolerance", above=0)

    def explain(self, model: Subject, images: np.ndarray, target: np.ndarray) -> np.ndarray:
        """See `Explainer`."""
        pixels = np.asarray(images, "float32")
        way = pixels - self.baseline
        start = np.full_like(pixels, self.baseline)
        change = model.of_targets(pixels, target) - model.of_targets(start, target)

        # The trapezoidal rule: half the ends, and all inner points. Twice the steps keep the points of before.
        ends = (
            model.gradients_of_pixels(start, target) + model.gradients_of_pixels(pixels, target)
        ) / 2
        steps = FIRST if self.steps is None else self.steps
        inner = np.zeros_like(pixels)
        for step in range(1, steps):
            inner += model.gradients_of_pixels(start + step / steps * way, target)
        while self.steps is None and steps < MOST:
            maps = ((ends + inner) / steps * way).sum(axis=-1)
            gaps = np.abs(maps.sum(axis=(1, 2)) - change)
            open_ones = gaps > self.tolerance * np.abs(change)
            if not open_ones.any():
                break
            steps *= 2
            for step in range(1, steps, 2):
                inner += model.gradients_of_pixels(start + step / steps * way, target)
        return ((ends + inner) / steps * way).sum(axis=-1)
