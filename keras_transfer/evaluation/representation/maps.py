"""`kt.representation_map`: images as points, near each other where a network sees them alike."""

import itertools
import json
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_transfer.core import checks, lookup
from keras_transfer.evaluation.representation import looking
from keras_transfer.features import similarity
from keras_transfer.pages import document, record, scatter

__all__ = ["RepresentationMap", "representation_map"]

NEAR = 10  # neighbours whose labels are compared
STEPS = 8  # groups that numbers are coloured by


def representation_map(
    model: keras.Model | Mapping[str, keras.Model],
    data: Any,
    *,
    method: str = "tsne",
    task: str | None = None,
    split: str | None = None,
    points: int = 1000,
    seed: int = 0,
    verbose: str | int = "auto",
) -> "RepresentationMap":
    """Places images on a plane, near each other where the end of the trunk sees them alike.

    Args:
        model: A network, or several by title, such as `{"pretrained": kt.backbone("tiny"), "fine-tuned": model}`, to
            see what training changed.
        data: From `kt.data`, or whatever `kt.features.extract` takes.
        method: "tsne" shows groups, "pca" distances.
        task: Whose labels colour the points, where there are several.
        split: Of data from `kt.data`; by default the test split, else validation, else training.
        points: How many images, drawn at random.
        seed: Of the draw and of t-SNE.
        verbose: As for `kt.predict`.

    Returns:
        The map: `save("map.html")` writes a page that shows the image and the label where the mouse is, `save` to
        ".json" the numbers; a notebook shows it.

    Raises:
        InputError: If there is no such method, task or split, or there are fewer than three images.

    Example:
        >>> import keras_transfer as kt
        >>> data = kt.data.glyphs(3, 8, validation=None)
        >>> cloud = representation_map(kt.backbone("tiny", weights=None), data, method="pca")
        >>> cloud.positions["tiny"].shape
        (24, 2)
    """
    place = lookup.find(method, METHODS, argument="method")
    checks.integer(points, name="points", minimum=3)
    models = dict(model) if isinstance(model, Mapping) else {model.name: model}
    if not models:
        raise checks.error("`model` must be a model or a dict of models", given="an empty dict")
    seen = looking.look(
        models, data, task=task, split=split, most=points, seed=seed, verbose=verbose
    )
    if len(seen.indices) < 3:
        raise checks.error("a map needs at least three images", given=len(seen.indices))

    positions, agreement = {}, {}
    for title in models:
        features = seen.joined(title)
        positions[title] = place(features, seed)
        if seen.class_names is not None and seen.labels is not None:
            agreement[title] = _agreement(features[seen.known], seen.labels[seen.known])
    return RepresentationMap(positions, seen, method=method, agreement=agreement)


class RepresentationMap(record.Saved):
    """Images as points, for each of one or several networks.

    Attributes:
        positions: By title of the network, (images, 2).
        seen: The images: their labels, files and thumbnails.
        method: How they were placed.
        agreement: By title, the share of the ten nearest images that have an image's own class, in all dimensions;
            empty without classes.
    """

    def __init__(
        self,
        positions: Mapping[str, np.ndarray],
        seen: looking.Look,
        *,
        method: str,
        agreement: Mapping[str, float],
    ) -> None:
        self.positions, self.seen = dict(positions), seen
        self.method, self.agreement = method, dict(agreement)

    def __str__(self) -> str:
        lines = [f"{len(self.seen.indices):,} images placed by {self.method}"]
        for title, share in self.agreement.items():
            lines.append(f"{title}: {share:.1%} of the {NEAR} nearest images have the same class")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"RepresentationMap({', '.join(self.positions)}: {len(self.seen.indices):,} images)"

    def to_json(self) -> str:
        """Returns positions, labels and files as JSON text."""
        count = range(len(self.seen.indices))
        positions = {}
        for title, rows in self.positions.items():
            positions[title] = np.round(np.asarray(rows, "float64"), 4).tolist()
        values = {
            "method": self.method,
            "agreement": self.agreement,
            "images": [self.seen.name(number) for number in count],
            "labels": [self.seen.label(number) for number in count],
            "positions": positions,
        }
        return json.dumps(values, ensure_ascii=False, allow_nan=False)

    def part(self) -> str:
        """Returns the map as a part of a page."""
        groups, names = self._groups()
        captions = []
        for number in range(len(self.seen.indices)):
            words = [self.seen.label(number), self.seen.name(number)]
            captions.append(": ".join(filter(None, words)))
        clouds = {}
        for title, rows in self.positions.items():
            share = self.agreement.get(title)
            more = "" if share is None else f" ({share:.0%} of the nearest have the same class)"
            clouds[f"{title}{more}"] = rows
        return scatter.part(
            clouds,
            captions=captions,
            groups=groups,
            group_names=names,
            thumbnails=self.seen.thumbnails,
            label="Map of images",
        )

    def to_html(self) -> str:
        """Returns a page that needs nothing outside itself."""
        count = len(self.seen.indices)
        body = document.box("Near each other: images that look alike to the network", self.part())
        return document.render(
            "Map of the representation",
            {"Map": body},
            subtitle=f"{count:,} images · {self.method} · {', '.join(self.positions)}",
            values={"method": self.method, "agreement": self.agreement, "images": count},
        )

    def _groups(self) -> tuple[list[int], list[str]]:
        """Returns for each image the number of its colour, and what the colours mean."""
        labels = self.seen.labels
        if labels is None or labels.ndim > 1 or not self.seen.known.any():
            return [0] * len(self.seen.indices), []
        if self.seen.class_names is not None:
            present = np.unique(labels[self.seen.known])
            names = [self.seen.class_names[int(number)] for number in present]
            groups = np.searchsorted(present, labels)
            return np.where(self.seen.known, groups, -1).tolist(), names
        edges = np.unique(np.quantile(labels[self.seen.known], np.linspace(0, 1, STEPS + 1)))
        if len(edges) < 2:
            return [0] * len(labels), []
        groups = np.clip(np.searchsorted(edges, labels, side="right") - 1, 0, len(edges) - 2)
        names = [f"{low:.4g} – {high:.4g}" for low, high in itertools.pairwise(edges)]
        return np.where(self.seen.known, groups, -1).tolist(), names


def _agreement(features: np.ndarray, labels: np.ndarray) -> float:
    """Returns the share of the nearest images that have an image's own label."""
    if len(features) < 2:
        return 1.0
    near, _ = similarity.neighbours(features, features, NEAR + 1)
    shares = []
    for number, places in enumerate(near):
        others = places[places != number][:NEAR]
        shares.append((labels[others] == labels[number]).mean())
    return float(np.mean(shares))


def _pca(features: np.ndarray, seed: int) -> np.ndarray:
    from sklearn import decomposition

    return decomposition.PCA(2, random_state=seed).fit_transform(features)


def _tsne(features: np.ndarray, seed: int) -> np.ndarray:
    from sklearn import decomposition, manifold

    width = min(50, *features.shape)
    short = decomposition.PCA(width, random_state=seed).fit_transform(features)
    near = min(30.0, (len(features) - 1) / 3)
    return manifold.TSNE(perplexity=near, init="pca", random_state=seed).fit_transform(short)


METHODS = {"tsne": _tsne, "pca": _pca}
