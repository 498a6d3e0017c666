"""The package's own Keras layers."""

import warnings

from keras_transfer.core import lookup
from keras_transfer.layers import marks
from keras_transfer.layers.box_decoder import BoxDecoder
from keras_transfer.layers.corner_resize import CornerResize
from keras_transfer.layers.cross_stitch import CrossStitch
from keras_transfer.layers.gate import Gate
from keras_transfer.layers.level_ends import LevelEnds
from keras_transfer.layers.penalised import Penalised
from keras_transfer.layers.preprocess import Preprocess
from keras_transfer.layers.preprocess_function import PreprocessFunction
from keras_transfer.layers.saved_model import SavedModelLayer
from keras_transfer.layers.stop_gradient import StopGradient
from keras_transfer.layers.task_balance import Balance
from keras_transfer.layers.task_output import TaskOutput
from keras_transfer.layers.trunk_end import Representation

__all__ = [
    "Balance",
    "BoxDecoder",
    "CornerResize",
    "CrossStitch",
    "Gate",
    "LevelEnds",
    "Penalised",
    "Preprocess",
    "PreprocessFunction",
    "Representation",
    "SavedModelLayer",
    "StopGradient",
    "TaskOutput",
]
_IN_MODELS = ("blocks", "outputs", "representation", "shared")


def __getattr__(name: str) -> object:
    """Finds the verbs that were in this room before, for one release."""
    if name not in marks.__all__:
        lookup.no_such_name(__name__, __all__)(name)
    place = "models" if name in _IN_MODELS else "layers.marks"
    message = f"`kt.layers.{name}` moves; use `keras_transfer.{place}.{name}`"
    warnings.warn(message, DeprecationWarning, stacklevel=2)
    return getattr(marks, name)
