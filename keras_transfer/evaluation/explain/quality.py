"""`kt.assess_explanation`: whether maps show what the model's answers stand on."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_transfer.core import checks
from keras_transfer.evaluation import predictions
from keras_transfer.evaluation.explain import base, copies, explaining
from keras_transfer.evaluation.explain.subject import Subject
from keras_transfer.pages import document, record

__all__ = ["Assessment", "assess_explanation", "pointing_game", "rank_correlation"]

STEPS = 10  # of deletion and insertion
ALIKE = 0.3  # rank correlation from which on a map depends too little on the weights
MEANINGS = {
    "deletion": "mean share of the evidence that is left while the hottest places are hidden; low is good",
    "insertion": "mean share of the evidence while the hottest places are shown first; high is good",
    "average_drop": "share of the evidence that is lost where only the map's places are shown; low is good",
    "increase": "share of images whose evidence grows there; high is good",
    "random_weights": "rank correlation with maps of random weights; a map that depends on the model is below 0.3",
    "pointing": "share of maps whose hottest place lies in the known evidence; high is good",
}


def assess_explanation(
    model: keras.Model,
    images: Any,
    *,
    method: str | base.Explainer = "gradcam",
    task: str | None = None,
    target: Any = None,
    layer: str | None = None,
    evidence: np.ndarray | None = None,
    batch_size: int = 32,
    seed: int = 0,
) -> "Assessment":
    """Measures how far maps show what answers stand on.

    - Deletion and insertion (Petsiuk et al. 2018): the evidence while the hottest places are hidden, or shown first.
    - Average drop and increase (Chattopadhay et al. 2018): the evidence where only the map's places are shown.
    - Random weights (Adebayo et al. 2018): whether maps change when the model forgets all that it learned.
    - The pointing game (Zhang et al. 2018), where it is known which places show the class.

    Evidence is the logit of a class or the number that a model answers. Shares are of the way from a blank image,
    filled with the mean colour, to the whole image, summed over the images.

    Args:
        model: As for `kt.explain`; its weights are changed for a while, and put back.
        images: As for `kt.explain`.
        method: As for `kt.explain`.
        task: As for `kt.explain`.
        target: As for `kt.explain`.
        layer: As for `kt.explain`.
        evidence: Where the class is seen in each image, truth values (images, height, width); None if unknown.
        batch_size: Images in a pass.
        seed: Of the random weights.

    Returns:
        The numbers by name, means over the images; it prints with what they mean, and says so where maps do not depend
        on the weights.

    Raises:
        InputError: As for `kt.explain`, or if `evidence` does not fit the images.

    Example:
        >>> import keras_transfer as kt
        >>> model = kt.build_model(kt.backbone("tiny", weights=None), kt.tasks.Classification(["cat", "dog"]))
        >>> images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), "uint8")
        >>> sorted(assess_explanation(model, images))
        ['average_drop', 'deletion', 'images', 'increase', 'insertion', 'method', 'random_weights']
    """
    options: dict[str, Any] = {"method": method, "task": task, "layer": layer}
    options |= {"batch_size": batch_size, "verbose": 0}
    maps = explaining.explain(model, images, target=target, **options)
    pixels = _pixels(model, images, batch_size)
    values: dict[str, Any] = {"method": maps.method, "images": len(maps)}
    subject = Subject(model, task=task, has_places=False)
    numbers = np.array([subject.names.index(name) for name in maps.targets])
    parts = []
    for first in range(0, len(pixels), batch_size):
        rows = slice(first, first + batch_size)
        parts.append(_measure(subject, pixels[rows], maps.maps[rows], numbers[rows]))
    sums = dict.fromkeys(parts[0], 0.0)
    for part in parts:
        for name, measured in part.items():
            sums[name] += float(measured.sum())
    span = sums["span"] or 1.0
    values["deletion"], values["insertion"] = sums["hidden"] / span, sums["shown"] / span
    values["average_drop"] = sums["drop"] / (sums["size"] or 1.0)
    values["increase"] = sums["increase"] / len(maps)
    if evidence is not None:
        values["pointing"] = pointing_game(maps.maps, evidence)
    with _random_weights(model, seed):
        blind = explaining.explain(model, pixels, target=numbers, **options)
    pairs = zip(maps.maps, blind.maps, strict=True)
    values["random_weights"] = float(np.mean([rank_correlation(*pair) for pair in pairs]))
    return Assessment(values)


class Assessment(record.Record):
    """Numbers that say how far maps show what answers stand on; it prints with their meanings.

    Example:
        >>> len(Assessment({"method": "gradcam", "images": 8, "random_weights": 0.5}).warnings())
        1
    """

    def __str__(self) -> str:
        lines = [f"{self['method']} on {self['images']:,} images"]
        for name, meaning in MEANINGS.items():
            if name in self:
                lines.append(f"{name:<15}{document.number(self[name]):>7}  {meaning}")
        return "\n".join([*lines, *self.warnings()])

    def warnings(self) -> list[str]:
        """Returns a line where maps do not depend on what the model learned."""
        if self["random_weights"] < ALIKE:
            return []
        return [
            "Maps hardly depend on what the model learned: with random weights they are much the same "
            f"(rank correlation {self['random_weights']:.2f}). They show the image more than the model."
        ]

    def to_html(self) -> str:
        """Returns a page that needs nothing outside itself."""
        rows = [(name, self[name], MEANINGS[name]) for name in MEANINGS if name in self]
        table = document.table("", ["measure", "value", "meaning"], rows)
        lines = "".join(
            f'<p class="warning">{document.escape(line)}</p>' for line in self.warnings()
        )
        subtitle = f"{self['method']} · {self['images']:,} images"
        return document.render(
            "Quality of maps", {"Measures": lines + table}, subtitle=subtitle, values=dict(self)
        )


def pointing_game(maps: np.ndarray, evidence: np.ndarray) -> float:
    """Returns the share of maps whose hottest place lies in the evidence (Zhang et al. 2018).

    Args:
        maps: (images, height, width).
        evidence: Truth values of the same shape; images without any do not count.

    Example:
        >>> pointing_game(np.array([[[0.0, 2.0]], [[3.0, 2.0]]]), np.array([[[0, 1]], [[0, 1]]]))
        0.5
    """
    known = np.asarray(evidence).astype("bool")
    if known.shape != maps.shape:
        expected = f"`evidence` must have the shape of the maps, {maps.shape}"
        raise checks.error(expected, given=known.shape)
    places = maps.reshape(len(maps), -1).argmax(axis=1)
    hits = known.reshape(len(maps), -1)[np.arange(len(maps)), places]
    counted = known.any(axis=(1, 2))
    if not counted.any():
        raise checks.error("`evidence` must have a place in some image", given="none")
    return float(hits[counted].mean())


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Returns Spearman's rank correlation of two maps, 0 where one of them is the same everywhere.

    Example:
        >>> rank_correlation(np.array([1, 2, 3]), np.array([10, 20, 90]))
        1.0
    """
    from scipy import stats

    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    return float(stats.spearmanr(np.ravel(one), np.ravel(other)).statistic)


def _pixels(model: keras.Model, images: Any, batch_size: int) -> np.ndarray:
    source = predictions.read_images(model, images, batch_size)
    return np.concatenate([np.asarray(batch.images) for batch in source.read()])


def _measure(
    subject: Subject, pixels: np.ndarray, maps: np.ndarray, target: np.ndarray
) -> dict[str, np.ndarray]:
    """Returns what the measures are made of, for each image of a batch."""
    count = len(pixels)
    blank = copies.filling(pixels, "mean")
    order = np.argsort(-maps.reshape(count, -1), axis=1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(order.shape[1])[None], axis=1)
    shares = (ranks / order.shape[1]).reshape(maps.shape)[..., None]  # 0 is the hottest place

    def show(step: int) -> np.ndarray:
        return np.where(shares < step / STEPS, pixels, blank)

    def hide(step: int) -> np.ndarray:
        return np.where(shares < step / STEPS, blank, pixels)

    shown = copies.evidence_of_copies(subject, pixels, target, show, STEPS + 1)
    hidden = copies.evidence_of_copies(subject, pixels, target, hide, STEPS + 1)
    start, whole = shown[0], shown[-1]
    positive = np.maximum(maps, 0)
    peaks = positive.max(axis=(1, 2), keepdims=True)
    heat = (positive / np.where(peaks == 0, 1, peaks))[..., None]
    only = subject.of_targets(heat * pixels + (1 - heat) * blank, target)
    return {
        "hidden": (hidden - start).mean(axis=0),
        "shown": (shown - start).mean(axis=0),
        "span": whole - start,
        "drop": np.maximum(whole - only, 0),
        "size": np.abs(whole - start),
        "increase": only > whole,
    }


@contextlib.contextmanager
def _random_weights(model: keras.Model, seed: int) -> Iterator[None]:
    """Shuffles the numbers within each weight of a model within the block: nothing that it learned is left."""
    before = model.get_weights()
    rng = np.random.default_rng(seed)
    shuffled = []
    for weight in before:
        is_number = np.issubdtype(weight.dtype, np.floating)
        shuffled.append(
            rng.permutation(weight.ravel()).reshape(weight.shape) if is_number else weight
        )
    model.set_weights(shuffled)
    try:
        yield
    finally:
        model.set_weights(before)
