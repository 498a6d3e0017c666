"""Examples that a report shows: the most telling mistakes, a sample of all."""

import base64
import heapq
import io
import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from PIL import Image

from keras_transfer import tasks
from keras_transfer.pages import overlays

__all__ = ["Example", "Kept", "data_uri", "read_sheet", "thumbnail"]

THUMBNAIL = 96  # pixels of the longer side
LARGEST_SHEET = 4096  # pixels of a side of a sheet of pictures
LOSSLESS = 48  # up to this size a PNG is as small as a JPEG


@dataclass(frozen=True)
class Example:
    """An image and its answer; `score` is 0 for a right one, else the confidence or the size of the error."""

    index: int
    target: str
    predicted: str
    score: float
    file: str | None
    picture: str | None  # a data URI; with the target drawn on it, where the task draws
    said_picture: str | None = None  # with the output drawn on it
    heat_picture: str | None = None  # with the places painted that the answer stands on
    given_picture: str | None = None  # as it is, where drawing on it hides it


class Kept:
    """Keeps the examples with the highest ranks, as thumbnails, batch by batch.

    Args:
        size: How many to keep.
        keeps_images: Whether the images are kept, too, in their own size.

    Example:
        >>> import keras_transfer as kt
        >>> kept = Kept(1)
        >>> ages = np.array([[3.0], [60.0]])
        >>> kept.add(np.array([0.1, 0.2]), np.arange(2), np.zeros((2, 8, 8, 3)), ages, ages)
        >>> [example.target for example in kept.examples(kt.tasks.Regression())]
        ['60']
    """

    def __init__(self, size: int, *, keeps_images: bool = False) -> None:
        self.size = size
        self.keeps_images = keeps_images
        self._heap: list[tuple] = []  # the lowest rank on top

    def add(
        self,
        ranks: np.ndarray,
        indices: np.ndarray,
        images: np.ndarray,
        targets: np.ndarray,
        outputs: np.ndarray,
        errors: np.ndarray | None = None,
        *,
        side: int = THUMBNAIL,
    ) -> None:
        """Adds examples; those whose rank is 0 are left out.

        Args:
            ranks: Of the examples.
            indices: Their numbers in the whole data; all differ.
            images: Of the examples.
            targets: As the task's `check` returns them.
            outputs: As the task's `check` returns them.
            errors: How wrong each answer is; None for a task that does not say.
            side: Pixels of the longer side of the thumbnails.
        """
        for i in np.argsort(-ranks, kind="stable")[: self.size]:
            is_full = len(self._heap) == self.size
            if ranks[i] <= 0 or (is_full and ranks[i] <= self._heap[0][0]):
                break
            error = 0.0 if errors is None else errors[i]
            # Places all differ, so that the heap never compares arrays.
            picture = thumbnail(images[i], side=side)
            size = tuple(images[i].shape[:2])
            image = images[i].copy() if self.keeps_images else None
            item = (ranks[i], -indices[i], error, targets[i], outputs[i], picture, size, image)
            heapq.heappush(self._heap, item)
            if len(self._heap) > self.size:
                heapq.heappop(self._heap)

    def images(self) -> dict[int, np.ndarray]:
        """Returns the images by their numbers, if they are kept."""
        return {-item[1]: item[-1] for item in self._heap if item[-1] is not None}

    def examples(
        self,
        task: tasks.Task,
        files: Sequence[str] | None = None,
        heat: Mapping[int, np.ndarray] | None = None,
    ) -> list[Example]:
        """Returns the examples, the highest rank first.

        Args:
            task: What they are answers of.
            files: The names of all examples of the data, in order.
            heat: By number of an example, how much its answer stands on each place, from 0 to 1.
        """
        highest_first = sorted(self._heap, key=lambda item: (-item[0], -item[1]))
        examples = []
        for _, place, error, target, output, picture, size, _ in highest_first:
            file = files[-place] if files else None
            drawn = said = hot = given = None
            if picture is not None:
                drawn = task.draw(picture, target, image_size=size)
                said = task.draw(picture, output, image_size=size)
                given = picture if task.hides_picture else None
            if picture is not None and heat and -place in heat:
                hot = overlays.paint_heat(picture, heat[-place])
            example = Example(
                index=-int(place),
                target=task.describe(target),
                predicted=task.describe(output),
                score=float(error),
                file=file,
                picture=data_uri(picture if drawn is None else drawn),
                said_picture=data_uri(said),
                heat_picture=data_uri(hot),
                given_picture=data_uri(given),
            )
            examples.append(example)
        return examples


def thumbnail(image: np.ndarray, *, side: int = THUMBNAIL) -> np.ndarray | None:
    """Returns the image as uint8 RGB, its longer side at most `side` pixels; None for what is no picture."""
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[-1] not in (1, 3, 4):
        return None
    image = np.nan_to_num(image[..., :3].astype("float32"))
    scale = min(1.0, side / max(image.shape[:2]))
    if scale < 1:
        size = [max(1, round(side * scale)) for side in image.shape[:2]]
        image = tf.image.resize(image, size, antialias=True).numpy()
    image = np.clip(np.rint(image), 0, 255).astype("uint8")
    return np.repeat(image, 3, axis=-1) if image.shape[-1] == 1 else image


def data_uri(image: np.ndarray | None) -> str | None:
    """Returns a picture as the address of an HTML image; None for None."""
    if image is None:
        return None
    if max(image.shape[:2]) <= LOSSLESS:
        kind, data = "png", tf.io.encode_png(image)
    else:
        kind, data = "jpeg", tf.io.encode_jpeg(image, quality=85)
    return f"data:image/{kind};base64,{base64.b64encode(data.numpy()).decode()}"


def read_sheet(source: pathlib.Path | io.BytesIO) -> bytes | None:
    """Returns a sheet of pictures that a run drew, as a JPEG; None where there is none, or something else."""
    try:
        with Image.open(source, formats=["PNG"]) as sheet:
            if max(sheet.size) > LARGEST_SHEET:
                return None
            buffer = io.BytesIO()
            sheet.convert("RGB").save(buffer, "jpeg", quality=85)
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    return buffer.getvalue()
