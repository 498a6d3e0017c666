"""Candidates of a ranking: built, timed, measured by scores of their frozen features."""

import contextlib
import dataclasses
import io
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_transfer import backbones, features, tasks
from keras_transfer.backbones import sources
from keras_transfer.core import checks, labelled, lookup, optional
from keras_transfer.features import scores
from keras_transfer.features.scores import labels
from keras_transfer.graphs import nodes, pixel_range
from keras_transfer.layers import marks

__all__ = [
    "FAILURES",
    "Candidate",
    "build",
    "check_labels",
    "check_sizes",
    "latency",
    "name_all",
    "score",
    "trunk_of",
    "working_memory",
]

RUNS = 11  # of one image, for the latency
BYTES = 4
# What a network may raise that does not suit the images, or this machine.
FAILURES = (ValueError, TypeError, ArithmeticError, RuntimeError, MemoryError, tf.errors.OpError)


@dataclasses.dataclass
class Candidate:
    """A network that may become the backbone.

    Attributes:
        name: Of the user, or its own.
        backbone: None where it cannot be built here.
        classifier: The whole model, where it answers with classes of its own.
        reason: Why it is left out; "" if it is not.
    """

    name: str
    backbone: keras.Model | None = None
    classifier: keras.Model | None = None
    reason: str = ""

    @property
    def is_random(self) -> bool:
        """Whether its weights were never trained."""
        if self.backbone is None:
            return False
        mark = marks.representation(self.backbone)
        return mark is not None and mark.source.get("weights", "") is None


def name_all(candidates: Any, *, with_makers: bool = False) -> dict[str, Any]:
    """Returns the sources by name; an error for one that is none, or comes twice.

    Args:
        candidates: A source, a list of them, or a dict by name.
        with_makers: Whether a source may be a function that makes a backbone.

    Example:
        >>> list(name_all(["MobileNetV2", "tiny"]))
        ['MobileNetV2', 'tiny']
    """
    is_maker = with_makers and callable(candidates)
    if is_maker or isinstance(candidates, str | os.PathLike | keras.Model):
        candidates = [candidates]
    if not isinstance(candidates, Mapping | Sequence) or not candidates:
        fix = "Such as ['MobileNetV2', 'ResNet50V2']."
        raise checks.error(
            "`candidates` must be a list of backbones", given=repr(candidates), fix=fix
        )
    if isinstance(candidates, Mapping):
        named = [(str(name), source) for name, source in candidates.items()]
    else:
        named = []
        for source in candidates:
            own = getattr(source, "name", None) or getattr(source, "__name__", None)
            if own == "<lambda>":
                fix = 'Give a dict: {"mine": ...}.'
                raise checks.error("a candidate must have a name", given="a lambda", fix=fix)
            named.append((str(own or source), source))
    names = [name for name, _ in named]
    for name, source in named:
        if names.count(name) > 1:
            fix = "Give a dict of them by name where two are different."
            raise checks.error("a candidate must come once", given=f"{name!r} twice", fix=fix)
        if not (with_makers and callable(source) and not isinstance(source, keras.Model)):
            _check_source(name, source)
    return dict(named)


def _check_source(name: str, source: Any) -> None:
    if isinstance(source, str | os.PathLike):
        if sources.recognise(source) is None:
            fix = lookup.hint(os.fspath(source), backbones.names())
            expected = "a candidate must be a known name, or an existing file or folder"
            raise checks.error(expected, given=repr(os.fspath(source)), fix=fix)
        return
    if not isinstance(source, keras.Model):
        expected = "a candidate must be a name, a path or a model"
        raise checks.error(expected, given=f"{name!r}: {source!r}")
    if marks.representation(source) is None:
        fix = "Make it with kt.backbone(model, preprocess=...)."
        raise checks.error(
            "a model must come from kt.backbone or kt.build_model", given=repr(name), fix=fix
        )


def check_sizes(named: Mapping[str, Any], data: Any) -> None:
    """Raises an error where the images are not those that a model takes."""
    images = (None, *data.image_size, data.channels)
    for source in named.values():
        if isinstance(source, keras.Model):
            taken = tuple(source.inputs[0].shape)
            pixel_range.check_shape(taken, images, name="`data`'s images")


def build(name: str, source: Any, data: Any) -> Candidate:
    """Returns a candidate for the images of some data; one that cannot be built says why."""
    if isinstance(source, keras.Model):
        is_classifier = bool(_source_classes(source))
        return Candidate(name, trunk_of(source), source if is_classifier else None)
    options = {} if data.channels == 3 else {"channels": data.channels}
    try:
        built = backbones.backbone(source, image_size=data.image_size, **options)
    except (checks.InputError, optional.MissingExtraError) as refused:
        return Candidate(name, reason=" ".join(str(refused).split()))
    return Candidate(name, built)


def trunk_of(source: Any) -> Any:
    """Returns the trunk of a model with tasks as a backbone; anything else as it is.

    Example:
        >>> trunk_of("MobileNetV2")
        'MobileNetV2'
    """
    if isinstance(source, keras.Model) and marks.outputs(source):
        with contextlib.redirect_stdout(io.StringIO()):  # that its head is left out
            return backbones.backbone(source)
    return source


def _source_classes(model: keras.Model) -> str | None:
    """Returns the name of a model's only output where that is a classification."""
    outputs = marks.outputs(model)
    if len(outputs) != 1:
        return None
    name, output = next(iter(outputs.items()))
    return name if isinstance(output.task, tasks.Classification) else None


def latency(backbone: keras.Model) -> float:
    """Returns the milliseconds that one image takes, the median of some."""
    images = tf.zeros((1, *backbone.inputs[0].shape[1:]))
    run = tf.function(lambda pixels: backbone(pixels, training=False), autograph=False)
    run(images)
    seconds = []
    for _ in range(RUNS):
        begin = time.perf_counter()
        keras.tree.map_structure(np.asarray, run(images))
        seconds.append(time.perf_counter() - begin)
    return 1000 * float(np.median(seconds))


def working_memory(backbone: keras.Model) -> int:
    """Returns the bytes that one image takes: the weights, and the outputs that must be there at one time.

    Example:
        >>> image = keras.Input((4, 4, 3))
        >>> working_memory(keras.Model(image, keras.layers.Conv2D(2, 1, name="conv")(image)))  # 8 weights, 48 + 32
        352
    """
    flat = nodes.flatten(backbone)
    order = nodes.nodes(flat)
    last_use: dict[int, int] = {}
    sizes: dict[int, int] = {}
    for place, node in enumerate(order):
        for tensor in [*node.inputs, *node.outputs]:
            last_use[id(tensor)] = place
            sizes[id(tensor)] = int(np.prod([side or 1 for side in tensor.shape[1:]]))
    alive: set[int] = set()
    most = 0
    for place, node in enumerate(order):
        alive |= {id(tensor) for tensor in [*node.inputs, *node.outputs]}
        most = max(most, sum(sizes[each] for each in alive))
        alive = {each for each in alive if last_use[each] > place}
    return BYTES * (backbone.count_params() + most)


def check_labels(data: Any, split: str) -> None:
    """Raises an error where no features could be scored with the labels of a split."""
    targets, _ = _labelled(data, split)
    labels.check(np.zeros((len(targets), 1)), targets)
    labels.outputs(targets)


def _labelled(data: Any, split: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns the labels of a split, and which images have one; None for all."""
    targets = np.asarray(data.targets[split])
    if data.weights is None:
        return targets, None
    known = labelled.rows(data.weights[split])
    return targets[known], known


def score(candidate: Candidate, data: Any, split: str, names: Sequence[str]) -> dict[str, float]:
    """Returns the scores of a candidate's features, from one pass over the images of a split.

    Args:
        candidate: With a backbone.
        data: Of one target.
        split: Of the data.
        names: Scores of `kt.features.SCORES`; those of source labels need a candidate with a classifier.
    """
    model, answers = candidate.backbone, None
    if candidate.classifier is not None:
        model, answers = candidate.classifier, _source_classes(candidate.classifier)
    if model is None:
        return {}
    end = marks.end_of_trunk(model).name
    places = {False: end, True: answers}  # by whether a score is of source labels
    layers = [place for place in places.values() if place is not None]
    seen = features.extract(model, data, layers=layers, pooling="avg", split=split, verbose=0)
    by_name = {path.rpartition("/")[2]: np.asarray(array) for path, array in seen.items()}
    targets, known = _labelled(data, split)
    groups = None if data.groups is None else data.groups[split]
    if known is not None:
        by_name = {name: array[known] for name, array in by_name.items()}
        groups = None if groups is None else groups[known]

    found = {}
    for name in names:
        row = scores.SCORES[name]
        place = places[row.of_source]
        if place is not None:
            options = {"groups": groups} if row.takes_groups else {}
            found[name] = round(row.function(by_name[place], targets, **options), 6)
    return found
