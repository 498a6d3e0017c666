"""The networks that a search chooses from."""

import dataclasses
import os
from typing import Any

import keras

from keras_transfer import backbones
from keras_transfer.core import checks
from keras_transfer.studies import candidates

__all__ = ["Network", "read"]


@dataclasses.dataclass(frozen=True)
class Network:
    """A network that may be the best.

    Attributes:
        name: For the leaderboard.
        source: A name or file for `kt.backbone`, a backbone, or a function of the image size that makes one.
    """

    name: str
    source: Any

    def build(self, image_size: tuple[int, int], channels: int) -> keras.Model:
        """Returns the backbone for images of a size.

        Raises:
            InputError: If it cannot be had: its weights are not here, or it takes other images.
        """
        source = self.source
        if isinstance(source, str | os.PathLike):
            planes = None if channels == 3 else channels
            return backbones.backbone(source, image_size=image_size, channels=planes)
        trunk = source if isinstance(source, keras.Model) else source(image_size)
        if not isinstance(trunk, keras.Model):
            raise checks.error(
                f"the candidate {self.name!r} must make a backbone", given=repr(trunk)
            )
        taken = tuple(trunk.inputs[0].shape[1:])
        wanted = (*image_size, channels)
        if any(own not in (None, side) for own, side in zip(taken, wanted, strict=True)):
            raise checks.error(
                f"the candidate {self.name!r} must take images of {wanted}", given=taken
            )
        return trunk


def read(sources: Any) -> list[Network]:
    """Returns the networks.

    Args:
        sources: A list of names or files for `kt.backbone`, backbones, and functions of the image size; a dict of them
            by name; None for the networks whose weights are on this machine.

    Raises:
        InputError: If there is none, one comes twice or has no name, or one is none of these.

    Example:
        >>> [network.name for network in read(["tiny", "MobileNetV2"])]
        ['tiny', 'MobileNetV2']
    """
    if sources is None:
        sources = backbones.on_this_machine()
    named = candidates.name_all(sources, with_makers=True)
    return [Network(name, source) for name, source in named.items()]
