"""One trunk for all tasks."""

from collections.abc import Mapping
from typing import Any

import keras

from keras_transfer import layers, tasks
from keras_transfer.layers import marks
from keras_transfer.models.sharing import base

__all__ = ["Hard", "starts"]


class Hard(base.Sharing):
    """All heads start at the trunk's end, or each at the level that its task names.

    A level below the end has a mark of its own, "representation_P4", so what lies below it counts as trunk where
    no task needs the rest.

    Example:
        >>> import keras_transfer as kt
        >>> two = {"kind": kt.tasks.Classification(3), "edges": kt.tasks.Regression(level="P2")}
        >>> features = Hard().features(kt.backbone("tiny", weights=None), two)
        >>> {name: start.shape for name, start in features.starts.items()}
        {'kind': (None, 4, 4, 256), 'edges': (None, 8, 8, 64)}
        >>> [tensor.shape for tensor in features.shared]
        [(None, 8, 8, 64)]
    """

    def features(self, backbone: keras.Model, named: Mapping[str, tasks.Task]) -> base.Features:
        """See `Sharing`."""
        return base.gather(backbone, starts(backbone, named), named)


def starts(backbone: keras.Model, named: Mapping[str, tasks.Task]) -> dict[str, Any]:
    """Returns for each task the tensor of the trunk at which its head starts, or a dict of tensors by level.

    Example:
        >>> images = keras.Input((8, 8, 3))
        >>> model = base.mark_end(keras.Model(images, keras.layers.Conv2D(4, 3)(images)))
        >>> starts(model, {"age": tasks.Regression()})["age"] is model.output
        True
    """
    names = base.Names(backbone, named)
    source = marks.end_of_trunk(backbone).source
    ends: dict[str | None, keras.KerasTensor] = {}

    def end_of(level: str | None) -> keras.KerasTensor:
        if level not in ends:
            end = base.level_end(backbone, level)
            if end is not backbone.outputs[0] and end is not backbone.inputs[0]:
                mark = layers.Representation(source, name=names.free(f"representation_{level}"))
                end = mark(end)
            ends[level] = end
        return ends[level]

    found: dict[str, Any] = {}
    for name, task in named.items():
        if not task.levels:
            found[name] = base.stop_if_asked(end_of(task.level), name, task)
            continue
        maps = {}
        for level in base.level_names(backbone, task):
            maps[level] = base.stop_if_asked(end_of(level), f"{name}_{level}", task)
        found[name] = maps
    return found
