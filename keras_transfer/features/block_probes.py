"""What each block of a trunk tells of a task, and from which one on to train."""

from collections.abc import Mapping, Sequence
from typing import Any  # data is duck-typed

import keras
import numpy as np

from keras_transfer.core import labelled
from keras_transfer.features import extraction
from keras_transfer.features.scores import labels as checking
from keras_transfer.features.scores import probe
from keras_transfer.graphs import blocks as graph_blocks
from keras_transfer.graphs import nodes, paths
from keras_transfer.layers import marks

__all__ = ["block_ends", "measure", "probe_blocks", "recommend"]

SMALL = 0.01  # differences of explained variance that say nothing


def block_ends(model: keras.Model) -> dict[str, str]:
    """Returns the layer in which each block of the trunk that can learn ends, by the block's name, bottom to top.

    Example:
        >>> dense = [keras.layers.Dense(2, name=name) for name in ("a", "b")]
        >>> block_ends(keras.Sequential([keras.Input((4,)), *dense]))
        {'a': 'a', 'b': 'b'}
    """
    nodes.check_functional(model)
    mark = marks.representation(model)
    options: dict[str, Any] = {}
    if mark is not None:
        options = {"pattern": mark.source.get("blocks"), "until": mark.input}
    makers: dict[int, str] = {}
    for node in nodes.nodes(model):
        makers |= {id(tensor): node.operation.name for tensor in node.outputs}
    leaves = paths.leaves(model)
    learning = set()
    for block in marks.blocks(model):
        if any(leaves[path].weights for path in block.layers):
            learning.add(block.name)
    ends = graph_blocks.ends(model, **options)
    return {name: makers[id(end)] for name, end in ends.items() if name in learning}


def measure(features: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Returns what a linear model reads from features of images that it was not fitted to.

    Args:
        features: (images, features).
        labels: Class ids or names, or numbers, one or several an image.

    Returns:
        `score`: accuracy, or explained variance of numbers; its `deviation`; `chance`, the score of one answer for all.

    Example:
        >>> measure(np.repeat([[0.0], [1.0]], 10, axis=0), np.repeat([0, 1], 10))["score"]
        1.0
    """
    score = probe(features, labels)
    if labels.ndim > 1 or labels.dtype.kind == "f":
        return {"score": score, "deviation": SMALL, "chance": 0.0}
    chance = float(np.bincount(checking.class_ids(labels)).max() / len(labels))
    deviation = float(np.sqrt(score * (1 - score) / len(labels)))
    return {"score": score, "deviation": deviation, "chance": chance}


def probe_blocks(model: keras.Model, data: Any, *, task: str | None = None) -> list[dict]:
    """Returns what a linear model reads from each block's features of the training images, see `measure`.

    Args:
        model: A model or a backbone.
        data: As for `extract`.
        task: Whose labels, where there are several.

    Example:
        >>> import keras_transfer as kt
        >>> data = kt.data.glyphs(3, 20, validation=None)
        >>> [row["block"] for row in probe_blocks(kt.backbone("tiny", weights=None), data)]
        ['stem', 'block1', 'block2', 'block3', 'block4']
    """
    ends = block_ends(model)
    features = extraction.extract(model, data, layers=list(ends.values()), pooling="avg", verbose=0)
    targets = features.targets
    if isinstance(targets, Mapping):
        task = next(iter(targets)) if task is None else task
        targets = targets[task]
    outputs = marks.outputs(model)
    output = outputs.get(task) if task is not None else next(iter(outputs.values()), None)
    targets = targets if output is None else output.task.encode(targets)
    weights = getattr(data, "weights", None)
    weights = labelled.of_task(weights["train"], task) if weights and task else None
    known = slice(None) if weights is None else np.ravel(weights) != 0
    rows = []
    for block, path in ends.items():
        rows.append({"block": block, **measure(features[path][known], targets[known])})
    return rows


def recommend(rows: Sequence[Mapping]) -> str:
    """Returns the block from which on to train: the one above the highest block that none beats by more than chance.

    There, a linear model reads less of what the task needs. It is the uppermost block where nothing is lost.

    Args:
        rows: Of each block, bottom to top: `block`, `score` and its `deviation`.

    Example:
        >>> scores = {"a": 0.7, "b": 0.9, "c": 0.6, "d": 0.5}
        >>> recommend([{"block": name, "score": score, "deviation": 0.01} for name, score in scores.items()])
        'c'
    """
    best = max(row["score"] for row in rows)
    good = [at for at, row in enumerate(rows) if row["score"] >= best - row["deviation"]]
    return rows[min(good[-1] + 1, len(rows) - 1)]["block"]
