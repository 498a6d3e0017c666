"""Integrated gradients."""

from collections.abc import Sequence

import numpy as np

from keras_transfer.core import checks
from keras_transfer.evaluation.explain import base, copies
from keras_transfer.evaluation.explain.subject import Subject

__all__ = ["IntegratedGradients"]

FIRST, MOST = 16, 512  # steps, where their number is left open
LEAST = 0.05  # of what all pixels add and take: a smaller difference counts as this


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
        start = np.full_like(pixels, self.baseline)
        change = model.of_targets(pixels, target) - model.of_targets(start, target)

        # The trapezoidal rule: half the ends, and all inner points. Twice the steps keep the points of before.
        steps = FIRST if self.steps is None else self.steps
        rows = np.arange(len(pixels))  # those whose maps are not complete
        ends = self._sum(model, pixels, target, (0, steps), steps) / 2
        sums = ends + self._sum(model, pixels, target, range(1, steps), steps)
        maps = self._multiply(sums, pixels, steps)
        while self.steps is None and steps < MOST:
            gaps = np.abs(maps[rows].sum(axis=(1, 2)) - change[rows])
            # Where nothing changes, small parts of what pixels add and take will do.
            least = LEAST * np.abs(maps[rows]).sum(axis=(1, 2))
            rows = rows[gaps > self.tolerance * np.maximum(np.abs(change[rows]), least)]
            if not len(rows):
                break
            steps *= 2
            some = pixels[rows], target[rows]
            sums[rows] += self._sum(model, *some, range(1, steps, 2), steps)
            maps[rows] = self._multiply(sums[rows], pixels[rows], steps)
        return maps

    def _sum(
        self,
        model: Subject,
        pixels: np.ndarray,
        target: np.ndarray,
        points: Sequence[int],
        steps: int,
    ) -> np.ndarray:
        """Returns the sum of the gradients at points of the way."""

        def go(point: int) -> np.ndarray:
            return self.baseline + point / steps * (pixels - self.baseline)

        return copies.gradients_of_copies(model, pixels, target, go, points)

    def _multiply(self, sums: np.ndarray, pixels: np.ndarray, steps: int) -> np.ndarray:
        return (sums / steps * (pixels - self.baseline)).sum(axis=-1)
