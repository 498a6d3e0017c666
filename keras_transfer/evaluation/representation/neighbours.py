"""`kt.nearest`: the images of data that a network sees most like others, such as mistakes."""

import json
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_transfer.core import checks
from keras_transfer.evaluation import examples, predictions
from keras_transfer.evaluation.representation import looking
from keras_transfer.features import extraction, similarity
from keras_transfer.pages import document, record

__all__ = ["Neighbours", "nearest"]

SIDE = 96  # pixels of the longer side of pictures


def nearest(
    model: keras.Model,
    images: Any,
    data: Any,
    *,
    count: int = 5,
    task: str | None = None,
    split: str = "train",
    verbose: str | int = "auto",
) -> "Neighbours":
    """Finds the training images that a model sees most like given images: why a mistake was made, or copies.

    Images are compared at the end of the trunk, averaged over places, by the angle between them.

    Args:
        model: A model or a backbone.
        images: Files, arrays or pictures, as for `kt.predict`.
        data: Where to look, as for `kt.features.extract`.
        count: How many for each image.
        task: Whose labels are told, where there are several.
        split: Where to look in data from `kt.data`.
        verbose: As for `kt.predict`.

    Returns:
        A row for each image, the most alike first: `indices`, `similarity`, `labels`. It prints as text, and saves as
        a page of pictures or as JSON.

    Raises:
        InputError: If there are no images, or no such task or split.

    Example:
        >>> import keras_transfer as kt
        >>> images = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8)
        >>> found = nearest(kt.backbone("tiny", weights=None), images[4:], (images, np.arange(6)), count=1)
        >>> found.indices.tolist()
        [[4], [5]]
    """
    checks.integer(count, name="count")
    tap, _ = extraction.find_taps(model, None)
    asked = predictions.read_images(model, images, 32)
    looking.select_batches(tap, data, split)  # raises errors before anything runs

    queries: list[np.ndarray] = []
    files: list[str | None] = []
    pictures: list[np.ndarray | None] = []
    for batch in asked.read():
        pixels = np.asarray(batch.images)
        ends = [looking.average(values) for values in tap(pixels, training=False).values()]
        queries.append(np.concatenate(ends, axis=1))
        files += batch.files or [None] * len(pixels)
        pictures += [examples.thumbnail(image, side=SIDE) for image in pixels]
    if not queries:
        raise checks.error("`images` must have at least one image", given="none")
    seen = looking.look({"": model}, data, task=task, split=split, side=SIDE, verbose=verbose)
    places, alike = similarity.neighbours(seen.joined(""), np.concatenate(queries), count)
    return Neighbours(places, alike, seen, files=files, pictures=pictures)


class Neighbours(record.Saved):
    """The images that are most alike others, the most alike first.

    Attributes:
        indices: Their places in the split, (images, count).
        similarity: Cosine of the angle between their features and those of the image, (images, count).
        labels: In words, a list for each image.
        files: Their files, a list for each image, or None.
    """

    def __init__(
        self,
        places: np.ndarray,
        similarity: np.ndarray,
        seen: looking.Look,
        *,
        files: Sequence[str | None],
        pictures: Sequence[np.ndarray | None],
    ) -> None:
        self._places, self._seen = places, seen
        self._asked, self._pictures = list(files), list(pictures)
        self.similarity = similarity
        self.indices = seen.indices[places]
        self.labels = [list(map(seen.label, row)) for row in places]
        self.files = None
        if seen.files is not None:
            self.files = [list(map(seen.name, row)) for row in places]

    def __str__(self) -> str:
        lines = []
        for number, row in enumerate(self._places):
            lines.append(self._name(number))
            for place, alike in zip(row, self.similarity[number], strict=True):
                label = self._seen.label(place)
                lines.append(f"  {alike:.3f}  {label:<12}  {self._seen.name(place)}".rstrip())
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"Neighbours({len(self._places)} images, {self._places.shape[1]} each)"

    def to_json(self) -> str:
        """Returns the neighbours as JSON text."""
        rows = []
        for number, row in enumerate(self._places):
            near = []
            for place, alike in zip(row, self.similarity[number], strict=True):
                fields = {"index": int(self._seen.indices[place]), "similarity": float(alike)}
                words = {"label": self._seen.label(place), "image": self._seen.name(place)}
                near.append({**fields, **words})
            rows.append({"image": self._name(number), "neighbours": near})
        return json.dumps({"images": rows}, ensure_ascii=False, allow_nan=False)

    def part(self) -> str:
        """Returns a gallery for each image as a part of a page."""
        boxes = ""
        for number, row in enumerate(self._places):
            items = _item(self._pictures[number], [self._name(number)])
            for place, alike in zip(row, self.similarity[number], strict=True):
                lines = [self._seen.label(place), f"{alike:.3f}", self._seen.name(place)]
                items += _item(self._seen.thumbnails[place], lines)
            boxes += document.box(self._name(number), f'<ul class="gallery">{items}</ul>')
        return boxes

    def to_html(self) -> str:
        """Returns a page that needs nothing outside itself."""
        others = f"{len(self._seen.indices):,} of {self._seen.split or 'the data'}"
        return document.render(
            "Nearest images",
            {"Neighbours": self.part()},
            subtitle=f"{len(self._places)} images, compared with {others}",
            values=self.to_dict(),
        )

    def _name(self, number: int) -> str:
        return self._asked[number] or f"image {number}"


def _item(picture: np.ndarray | None, lines: Sequence[str]) -> str:
    words = list(filter(None, lines))
    source = examples.data_uri(picture)
    image = f'<img src="{source}" alt="{document.escape(", ".join(words))}">' if source else ""
    return f"<li>{image}{'<br>'.join(map(document.breakable, words))}</li>"
