"""Attention rollout, for vision transformers."""

import contextlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from keras_transfer.core import checks
from keras_transfer.evaluation.explain import base
from keras_transfer.evaluation.explain.subject import Subject

__all__ = ["AttentionRollout"]


class AttentionRollout(base.Explainer):
    """Which patches a vision transformer looks at, through all its layers of attention (Abnar and Zuidema 2020).

    The map is one for all classes. Layers of attention must be `keras.layers.MultiHeadAttention` over one row of
    tokens: square patches, maybe with others in front of them, such as a class token.

    Example:
        >>> AttentionRollout().needs_places
        False
    """

    def explain(self, model: Subject, images: np.ndarray, target: np.ndarray) -> np.ndarray:
        """See `Explainer`."""
        shares: list[np.ndarray] = []
        with _recording(model.model, shares):
            model.run(images)
        shares = [each for each in shares if each.shape[-1] == each.shape[-2] > 1]
        if not shares:
            raise checks.error(
                "`model` must have layers of attention for method='rollout'",
                given=f"{model.model.name!r}, where none was found",
                fix="Use method='occlusion', which needs the answers only.",
            )

        flow = np.eye(shares[0].shape[-1])
        for share in shares:  # (images, tokens, tokens)
            if share.shape[1:] != flow.shape[-2:]:
                given = f"{flow.shape[-1]} and {share.shape[1]} tokens"
                raise checks.error("all attention must be over the same tokens", given=given)
            flow = (share + np.eye(share.shape[-1])) / 2 @ flow  # half is the residual
        side = int(np.sqrt(flow.shape[-1]))
        extra = flow.shape[-1] - side**2
        # What the first token takes from patches, where there is a class token; else what all take.
        seen = flow[:, 0, extra:] if extra else flow.mean(axis=1)
        return seen.reshape(-1, side, side)


@contextlib.contextmanager
def _recording(model: keras.Model, shares: list[np.ndarray]) -> Iterator[None]:
    """Adds the attention of each layer, averaged over heads, while the model runs within the block."""

    def record(attend: Callable) -> Callable:
        def recorded(*arguments: Any, **options: Any) -> tuple:
            bound = inspect.signature(attend).bind(*arguments, **options)
            bound.arguments["return_attention_scores"] = True
            output, scores = attend(*bound.args, **bound.kwargs)
            shares.append(keras.ops.convert_to_numpy(scores).mean(axis=1))
            return output, scores

        return recorded

    attending = [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.MultiHeadAttention)
    ]
    for layer in attending:
        object.__setattr__(layer, "_compute_attention", record(layer._compute_attention))
    try:
        yield
    finally:
        for layer in attending:
            object.__delattr__(layer, "_compute_attention")
