"""The task that fits a target where the user names none."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any  # data and targets are those of `kt.data`

from keras_transfer.core import checks
from keras_transfer.data.targets import encoding
from keras_transfer.tasks.base import Task
from keras_transfer.tasks.classification import Classification
from keras_transfer.tasks.depth import Depth
from keras_transfer.tasks.detection import Detection
from keras_transfer.tasks.image_to_image import ImageToImage
from keras_transfer.tasks.multilabel import MultiLabel
from keras_transfer.tasks.regression import Regression
from keras_transfer.tasks.segmentation import Segmentation

__all__ = ["for_data"]


def for_data(data: Any) -> Task | dict[str, Task]:
    """Returns a task for each target of data from `kt.data`, with nothing chosen but its classes.

    Args:
        data: From `kt.data`.

    Returns:
        A task, or a dict of them by the name of the target.

    Raises:
        InputError: If the data does not come from `kt.data`.

    Example:
        >>> import numpy as np
        >>> import keras_transfer as kt
        >>> images = np.zeros((4, 8, 8), "uint8")
        >>> for_data(kt.data.from_arrays(images, ["cat", "dog"] * 2, validation=None)).class_names
        ['cat', 'dog']
    """
    by_split = getattr(data, "targets", None)
    if not isinstance(by_split, Mapping) or not by_split:
        raise checks.error("`data` must come from kt.data", given=type(data).__name__)
    targets = by_split.get("train", next(iter(by_split.values())))
    if not isinstance(targets, Mapping):
        return _for_target(targets, data.class_names)
    names = data.class_names or {}
    return {name: _for_target(of_task, names.get(name)) for name, of_task in targets.items()}


def _for_target(targets: Any, names: Sequence[str] | None) -> Task:
    kind = encoding.kind_of(targets, names).__name__.rpartition(".")[2]
    return MAKERS[kind](targets, names)


def _numbers(targets: Any, names: Sequence[str] | None) -> Task:
    return Regression(targets.shape[1] if len(targets.shape) > 1 else 1)


def _images(targets: Any, names: Sequence[str] | None) -> Task:
    """Pictures are of bytes; other measurements of one channel are taken for depths."""
    is_depth = targets.dtype.kind == "f" and targets.shape[-1] == 1
    return Depth() if is_depth else ImageToImage(targets.shape[-1])


# The name of a file of `data.targets`: what makes a task of encoded targets and the names of classes.
MAKERS: dict[str, Callable[[Any, Any], Task]] = {
    "classes": lambda targets, names: Classification(names or int(targets.max()) + 1),
    "numbers": _numbers,
    "tags": lambda targets, names: MultiLabel(names),
    "boxes": lambda targets, names: Detection(names),
    "masks": lambda targets, names: Segmentation(names),
    "images": _images,
}
