"""Pretrained trunks behind one call."""

from typing import TYPE_CHECKING

from keras_transfer.backbones.catalogue import CATALOGUE, FAMILIES, names
from keras_transfer.backbones.local import on_this_machine
from keras_transfer.core import lookup

__all__ = [
    "CATALOGUE", "FAMILIES", "Backbone", "Report", "backbone", "load_by_order", "names", "on_this_machine",
]  # fmt: skip

if TYPE_CHECKING:
    from keras_transfer.backbones.base import Backbone
    from keras_transfer.backbones.legacy.layer_order import Report, load_by_order
    from keras_transfer.backbones.sources import backbone
else:  # hidden from type checkers, which would take any misspelt name for one that this function finds

    def __getattr__(name: str) -> object:
        """Loads what needs Keras on its first use: the command line looks names up without it."""
        if name not in __all__:
            lookup.no_such_name(__name__, __all__)(name)
        from keras_transfer.backbones import base, sources
        from keras_transfer.backbones.legacy import layer_order

        for module in (base, sources, layer_order):
            if name in module.__all__:
                return getattr(module, name)
        raise AssertionError(f"{name} has no module")
