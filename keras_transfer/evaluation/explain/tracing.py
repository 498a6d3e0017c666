"""Maps as a compiled function makes them, for exports."""

from collections.abc import Callable
from typing import Any  # tensors of Keras's backend

import keras

from keras_transfer.core import checks, lookup
from keras_transfer.evaluation.explain import EXPLAINERS, base
from keras_transfer.evaluation.explain.subject import Subject

__all__ = ["make_traceable"]


def make_traceable(
    model: keras.Model, method: str, *, task: str | None = None
) -> Callable[[Any], tuple[Any, Any, Any]]:
    """Returns a function from a batch of images to maps of the answers, their targets and the evidence for these.

    Args:
        model: As for `kt.explain`.
        method: A method that looks at a feature map and its gradient.
        task: Name of the output; None for the only one.

    Raises:
        InputError: If the method is unknown or needs many passes, or the model has no feature map.

    Example:
        >>> import keras_transfer as kt
        >>> model = kt.build_model(kt.backbone("tiny", weights=None), kt.tasks.Classification(["cat", "dog"]))
        >>> explain = make_traceable(model, "gradcam")
        >>> [part.shape[0] for part in explain(keras.ops.zeros((2, 32, 32, 3)))]
        [2, 2, 2]
    """
    explainer = lookup.find(method, EXPLAINERS, argument="explain")()
    if not isinstance(explainer, base.CAM):
        quick = [name for name, kind in EXPLAINERS.items() if issubclass(kind, base.CAM)]
        expected = f"`explain` must be a method of one pass: {', '.join(map(repr, quick))}"
        raise checks.error(expected, given=repr(method))
    subject = Subject(model, task=task)
    combine = explainer.combine
    return lambda images: subject.trace(images, combine)
