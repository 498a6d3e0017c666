"""Backbones whose weights are still random."""

from collections.abc import Iterator

import keras
import numpy as np

from keras_transfer.graphs import paths
from keras_transfer.layers import marks
from keras_transfer.studies.doctor import base

__all__ = ["check"]


def check(case: base.Case) -> Iterator[base.Finding]:
    """Yields a finding where the model's trunk was not trained, by what is known of it."""
    if case.model is None:
        return
    reason = _reason(case.model)
    if reason:
        yield base.Finding(
            "warning",
            f"the backbone of {case.model.name!r} has random weights: {reason}",
            fix='Use `kt.backbone(name, weights="imagenet")`, unless it is to be trained from scratch.',
        )


def _reason(model: keras.Model) -> str:
    """Returns why the weights must be random, "" if they need not be."""
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None and int(optimizer.iterations.numpy()):
        return ""
    sources = [end.source for end in marks.representations(model)]
    if any("weights" in source and source["weights"] is None for source in sources):
        return "it was built with weights=None"

    leaves = paths.leaves(model)
    chosen = list(leaves)
    if sources:
        chosen = [path for block in marks.blocks(model) for path in block.layers if path in leaves]
    norms = [
        leaves[path]
        for path in chosen
        if isinstance(leaves[path], keras.layers.BatchNormalization) and leaves[path].built
    ]
    if norms and all(map(_is_new, norms)):
        return f"its {base.count(len(norms), 'batch normalisation')} never saw an image (mean 0, variance 1)"
    return ""


def _is_new(norm: keras.layers.BatchNormalization) -> bool:
    mean, variance = (np.asarray(each) for each in (norm.moving_mean, norm.moving_variance))
    return bool((mean == 0).all() and (variance == 1).all())
