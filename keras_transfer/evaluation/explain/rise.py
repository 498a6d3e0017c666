"""RISE."""

import keras
import numpy as np

from keras_transfer.core import checks
from keras_transfer.evaluation.explain import base, copies
from keras_transfer.evaluation.explain.subject import Subject

__all__ = ["RISE"]


class RISE(base.Explainer):
    """The mean evidence of copies that show a place, less that of all copies; copies are hidden at random places.

    After Petsiuk et al. (2018); it needs the answers only.

    Args:
        masks: How many copies; more make the map smoother.
        grid: Cells of a mask along a side.
        shown: Share of the cells that are shown.
        fill: What hidden places are filled with: "mean" of the image's pixels, or a number.
        seed: Of the masks.

    Example:
        >>> RISE(masks=4000).masks
        4000
    """

    is_signed = True

    def __init__(
        self,
        *,
        masks: int = 1000,
        grid: int = 7,
        shown: float = 0.5,
        fill: float | str = "mean",
        seed: int = 0,
    ) -> None:
        self.masks = checks.integer(masks, name="masks")
        self.grid = checks.integer(grid, name="grid", minimum=2)
        self.shown = checks.number(shown, name="shown", above=0, below=1)
        self.fill = copies.check_fill(fill)
        self.seed = checks.integer(seed, name="seed", minimum=0, below=checks.SEEDS)

    def explain(self, model: Subject, images: np.ndarray, target: np.ndarray) -> np.ndarray:
        """See `Explainer`."""
        fill = copies.filling(images, self.fill)

        def hide(number: int) -> np.ndarray:
            mask = self.mask(number, images.shape[1:3])[..., None]
            return mask * images + (1 - mask) * fill

        evidence = copies.evidence_of_copies(model, images, target, hide, self.masks)
        evidence = evidence - evidence.mean(axis=0)
        weighted = np.zeros((len(images), *images.shape[1:3]))
        total = np.zeros(images.shape[1:3])
        for number, of_images in enumerate(evidence):
            mask = self.mask(number, images.shape[1:3])
            weighted += of_images[:, None, None] * mask
            total += mask
        return weighted / np.maximum(total, 1e-9)

    def mask(self, number: int, size: tuple[int, int]) -> np.ndarray:
        """Returns a mask, 1 where the image is shown: cells with soft edges, at a random place.

        Args:
            number: Which one.
            size: Height and width of the images.
        """
        rng = np.random.default_rng([self.seed, number])
        cells = (rng.random((1, self.grid, self.grid, 1)) < self.shown).astype("float32")
        cell = [-(-side // self.grid) for side in size]
        larger = [side + each for side, each in zip(size, cell, strict=True)]
        mask = keras.ops.image.resize(cells, larger, interpolation="bilinear")
        top, left = (int(rng.integers(0, each)) for each in cell)
        mask = keras.ops.convert_to_numpy(mask)[0, :, :, 0]
        return mask[top : top + size[0], left : left + size[1]]
