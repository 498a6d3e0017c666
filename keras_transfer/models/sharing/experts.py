"""Experts above a common trunk, among which each task chooses."""

from collections.abc import Mapping

import keras

from keras_transfer import layers, tasks
from keras_transfer.core import checks
from keras_transfer.models.sharing import base

__all__ = ["Experts"]


class Experts(base.Sharing):
    """A few small experts read the representation; each task mixes them by a gate of its own (Ma et al. 2018).

    An expert is a dense layer with ReLU, applied at each place of a map. A gate looks at the features averaged
    over places; a single expert needs none. Experts and gates belong to the head: they are new, and train from its
    first stage on.

    A task with `stop_gradient` trains its gate and head; trunk and experts learn nothing from it.

    Args:
        count: How many experts.
        width: Of each, and of the features that the heads start from.

    Example:
        >>> import keras_transfer as kt
        >>> two = {"kind": kt.tasks.Classification(3), "age": kt.tasks.Regression()}
        >>> model = kt.build_model(kt.backbone("tiny", weights=None), two, sharing=Experts(count=2, width=16))
        >>> model.get_layer("age_gate").output.shape
        (None, 4, 4, 16)
    """

    def __init__(self, *, count: int = 4, width: int = 128) -> None:
        self.count = checks.integer(count, name="count")
        self.width = checks.integer(width, name="width")

    def features(self, backbone: keras.Model, named: Mapping[str, tasks.Task]) -> base.Features:
        """See `Sharing`."""
        base.refuse_levels(named, "experts")
        names = base.Names(backbone, named)
        trunk = backbone.outputs[0]
        pooled = trunk
        if len(trunk.shape) == 4:
            pooled = keras.layers.GlobalAveragePooling2D(name=names.free("experts_pool"))(trunk)
        experts = []
        for number in range(1, self.count + 1):
            name = names.free(f"expert_{number}")
            experts.append(keras.layers.Dense(self.width, activation="relu", name=name)(trunk))

        starts = {}
        for name, task in named.items():
            if len(experts) == 1:
                starts[name] = base.stop_if_asked(experts[0], name, task)
                continue
            seen = [pooled, *experts]
            if task.stop_gradient:
                seen = [
                    layers.StopGradient(name=names.free(f"{name}_stop_gradient_{number}"))(tensor)
                    for number, tensor in enumerate(seen)
                ]
            starts[name] = layers.Gate(name=names.free(f"{name}_gate"))(seen)
        return base.gather(backbone, starts, named)
