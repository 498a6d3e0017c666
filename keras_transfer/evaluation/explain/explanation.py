"""Maps of what answers stand on, to look at, to save and to compute with."""

import os
import pathlib
from collections.abc import Sequence

import numpy as np

from keras_transfer.evaluation import examples, pictures
from keras_transfer.graphs import paths
from keras_transfer.pages import document, overlays

__all__ = ["Explanation"]

SHOWN = 24  # images in a notebook
SIDE = 384  # pixels of the longer side of pictures that are kept
PEAK = 99.5  # percentile of a map that is drawn at full strength: single pixels may lie far above


class Explanation:
    """A map for each image: the higher a place, the more the answer stands on it.

    Attributes:
        maps: float32 (images, height, width), in the size of the model's images. Maps of some methods also have numbers
            below 0, for places that speak against the answer.
        targets: What was explained in each image: the name of a class, or the number of an output.
        evidence: What spoke for it: a logit, or the number that the model answered.
        method: Name of the method.
        task: Name of the output.
        files: The image files, or None.

    Example:
        >>> maps = np.zeros((1, 2, 2), "float32")
        >>> print(Explanation(maps, ["cat"], np.ones(1), method="gradcam", task="kind"))
        image 0  cat  evidence 1
    """

    def __init__(
        self,
        maps: np.ndarray,
        targets: Sequence[str],
        evidence: np.ndarray,
        *,
        method: str,
        task: str,
        files: Sequence[str | None] | None = None,
        images: Sequence[np.ndarray | None] = (),
    ) -> None:
        self.maps, self.targets, self.evidence = maps, list(targets), evidence
        self.method, self.task = method, task
        known = [file for file in files or () if file is not None]
        self.files = known if known and len(known) == len(maps) else None
        self._images = list(images)

    def __len__(self) -> int:
        return len(self.maps)

    def heat(self, index: int) -> np.ndarray:
        """Returns a map as it is drawn, from 0 to 1; what speaks against the answer is 0.

        Args:
            index: Number of the image.
        """
        positive = np.maximum(self.maps[index], 0)
        peak = np.percentile(positive, PEAK) or positive.max()
        return np.minimum(positive / peak, 1) if peak > 0 else positive

    def overlay(self, index: int, *, opacity: float = 0.6) -> np.ndarray:
        """Returns an image with its map on it, uint8 RGB; of a file in the file's own size, up to 1,600 pixels.

        Args:
            index: Number of the image.
            opacity: Of the hottest places.
        """
        if self.files is not None:
            picture = pictures.read(self.files[index])
        else:
            picture = self._picture(index)
        return overlays.paint_heat(picture, self.heat(index), opacity=opacity)

    def save(self, folder: str | os.PathLike) -> list[str]:
        """Writes each image with its map on it as a PNG file, and returns the files.

        Args:
            folder: Made if there is none; a picture has the name of its file.
        """
        from PIL import Image

        root = pathlib.Path(folder)
        root.mkdir(parents=True, exist_ok=True)
        written: list[str] = []
        taken: set[str] = set()
        for index in range(len(self)):
            stem = paths.free_name(pathlib.Path(self._name(index)).stem, taken)
            taken.add(stem)
            path = root / f"{stem}.png"
            Image.fromarray(self.overlay(index)).save(path)
            written.append(str(path))
        return written

    def to_dict(self) -> dict:
        """Returns everything but the maps as plain values."""
        rows = []
        for index, target in enumerate(self.targets):
            name = {"file": self.files[index]} if self.files else {}
            rows.append({**name, "target": target, "evidence": float(self.evidence[index])})
        return {"method": self.method, "task": self.task, "images": rows}

    def _picture(self, index: int) -> np.ndarray:
        known = self._images[index] if index < len(self._images) else None
        size = self.maps.shape[1:]
        return np.zeros((*size, 3), "uint8") if known is None else known

    def _name(self, index: int) -> str:
        return self.files[index] if self.files else f"image {index}"

    def __repr__(self) -> str:
        names = [self._name(index) for index in range(len(self))]
        width = max(map(len, names), default=0)
        lines = []
        for name, target, evidence in zip(names, self.targets, self.evidence, strict=True):
            lines.append(f"{name:<{width}}  {target}  evidence {evidence:.3g}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        items = []
        for index in range(min(len(self), SHOWN)):
            drawn = overlays.paint_heat(self._picture(index), self.heat(index))
            title = document.escape(f"{self._name(index)}: {self.targets[index]}")
            source = examples.data_uri(drawn)
            image = f'<img src="{source}" alt="{title}" style="height:128px">'
            items.append(
                f'<figure style="margin:0">{image}<figcaption>{title}</figcaption></figure>'
            )
        more = f"<p>and {len(self) - SHOWN} more</p>" if len(self) > SHOWN else ""
        return f'<div style="display:flex;flex-wrap:wrap;gap:8px">{"".join(items)}</div>{more}'
