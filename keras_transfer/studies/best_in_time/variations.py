"""Ways to train a network that a search tries beside the default one."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_transfer.studies import training_options

__all__ = ["PRESETS", "VARIATIONS", "Preset", "Variation"]


@dataclasses.dataclass(frozen=True)
class Variation:
    """How a run differs from `kt.fine_tune(model, data)`.

    Attributes:
        rate: What the rates of trained stages are multiplied by.
        trains_all: Whether the last stage trains the whole trunk.
        augment: Random changes; None for those that the default chooses.
        views: Kept views of each image, with random changes.
    """

    rate: float = 1.0
    trains_all: bool = False
    augment: str | None = None
    views: int | None = None

    def options(self, model: keras.Model, data: Any) -> dict[str, Any]:
        """Returns the arguments of `kt.fine_tune`."""
        options: dict[str, Any] = {}
        if self.augment is not None:
            options = {"augment": self.augment, "views": self.views}
        if self.rate == 1.0 and not self.trains_all:
            return options
        stages = list(training_options.plan(model, data, options))
        for at, stage in enumerate(stages):
            if not stage.applied_method.replaces_fit:
                stages[at] = dataclasses.replace(
                    stage, learning_rate=_times(stage.learning_rate, self.rate)
                )
        if self.trains_all:
            stages[-1] = dataclasses.replace(stages[-1], train="all")
        return {**options, "stages": stages}


def _times(rate: Any, factor: float) -> Any:
    if isinstance(rate, Mapping):
        return {pattern: value * factor for pattern, value in rate.items()}
    return rate * factor if isinstance(rate, float) else rate


# name: the variation.
VARIATIONS = {
    "default": Variation(),
    "light changes": Variation(augment="light", views=4),
    "three times the rate": Variation(rate=3.0),
    "all layers": Variation(trains_all=True),
    "a third of the rate": Variation(rate=1 / 3),
    "medium changes": Variation(augment="medium", views=4),
}


@dataclasses.dataclass(frozen=True)
class Preset:
    """How broadly a search looks.

    Attributes:
        networks: How many of the candidates are trained beyond their head.
        variations: Names of what is tried on the best of them, in order.
        sizes: Image sides that are tried where the data can have any.
        has_soup: Whether the weights of the best runs are averaged in the end.
    """

    networks: int
    variations: Sequence[str]
    sizes: Sequence[int]
    has_soup: bool = False


PRESETS = {
    "medium": Preset(2, ["default"], (160,)),
    "high": Preset(2, ["default", "light changes", "three times the rate"], (160, 224), True),
    "best": Preset(3, list(VARIATIONS), (128, 160, 224), True),
}
