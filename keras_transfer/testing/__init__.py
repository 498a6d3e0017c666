"""Contract checks: what every backbone, task, layer, loss, balancer and method must do, yours included.

Each `check_...` runs small named checks and raises an `AssertionError` that starts with the name of the first one that
fails. The package's own tests run them on every row of every table.
"""

from typing import TYPE_CHECKING

from keras_transfer.core import lookup
from keras_transfer.testing.backbones import check_backbone
from keras_transfer.testing.balancers import check_balancer
from keras_transfer.testing.layers import check_layer
from keras_transfer.testing.losses import check_loss
from keras_transfer.testing.methods import check_method
from keras_transfer.testing.tasks import check_task

__all__ = [
    "check_backbone", "check_balancer", "check_layer", "check_loss", "check_method", "check_task",
]  # fmt: skip

if not TYPE_CHECKING:  # type checkers know the names, and would take any other for one of them
    __getattr__ = lookup.no_such_name(__name__, __all__)
