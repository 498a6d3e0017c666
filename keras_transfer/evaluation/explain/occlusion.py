"""Occlusion."""

import numpy as np

from keras_transfer.core import checks
from keras_transfer.evaluation.explain import base, copies
from keras_transfer.evaluation.explain.subject import Subject

__all__ = ["Occlusion"]

SHARE = 8  # a patch's side is an eighth of the image's


class Occlusion(base.Explainer):
    """How much the evidence falls where a patch is hidden, averaged over the patches on a place (Zeiler et al. 2014).

    It needs the answers only: it works for every model, and for tasks without gradients.

    Args:
        patch: Side of the patch in pixels; None for an eighth of the image's shorter side.
        stride: From patch to patch in pixels; None for half a patch.
        fill: What the patch is filled with: "mean" of the image's pixels, or a number.

    Example:
        >>> Occlusion(patch=16).patch
        16
    """

    is_signed = True

    def __init__(
        self,
        *,
        patch: int | None = None,
        stride: int | None = None,
        fill: float | str = "mean",
    ) -> None:
        self.patch = None if patch is None else checks.integer(patch, name="patch")
        self.stride = None if stride is None else checks.integer(stride, name="stride")
        self.fill = copies.check_fill(fill)

    def explain(self, model: Subject, images: np.ndarray, target: np.ndarray) -> np.ndarray:
        """See `Explainer`."""
        height, width = images.shape[1:3]
        side = min(self.patch or max(1, min(height, width) // SHARE), height, width)
        stride = self.stride or max(1, side // 2)
        corners = [
            (top, left)
            for top in _starts(height, side, stride)
            for left in _starts(width, side, stride)
        ]
        fill = copies.filling(images, self.fill)

        def hide(number: int) -> np.ndarray:
            top, left = corners[number]
            hidden = np.array(images, "float32")
            hidden[:, top : top + side, left : left + side] = fill
            return hidden

        whole = model.of_targets(images, target)
        hidden = copies.evidence_of_copies(model, images, target, hide, len(corners))
        maps, counts = np.zeros((len(images), height, width)), np.zeros((height, width))
        for (top, left), evidence in zip(corners, hidden, strict=True):
            maps[:, top : top + side, left : left + side] += (whole - evidence)[:, None, None]
            counts[top : top + side, left : left + side] += 1
        return maps / np.maximum(counts, 1)


def _starts(length: int, side: int, stride: int) -> list[int]:
    """Returns where patches start, so that the last one ends at the edge."""
    starts = list(range(0, length - side + 1, stride))
    return starts if starts[-1] == length - side else [*starts, length - side]
