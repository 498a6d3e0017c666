"""What a model is to answer. A kind of task is one file, and one row of `TASKS`.

The file has a subclass of `Task`, whose docstring says what it needs, or of `dense.DenseTask` for a value a pixel. A
row also needs `example`: the checks of `tests/tasks/test_table.py` run on it. `cli/train.py` says which task
`keras-transfer train` makes for each kind of target.
"""

from typing import TYPE_CHECKING

from keras_transfer.core import lookup
from keras_transfer.tasks.base import Scorer, Task, require
from keras_transfer.tasks.choosing import for_data
from keras_transfer.tasks.classification import Classification
from keras_transfer.tasks.depth import Depth
from keras_transfer.tasks.detection import Detection
from keras_transfer.tasks.image_to_image import ImageToImage
from keras_transfer.tasks.multilabel import MultiLabel
from keras_transfer.tasks.regression import Regression
from keras_transfer.tasks.segmentation import Segmentation

__all__ = [
    "TASKS", "Classification", "Depth", "Detection", "ImageToImage", "MultiLabel", "Regression", "Scorer",
    "Segmentation", "Task", "for_data", "require",
]  # fmt: skip

if not TYPE_CHECKING:  # type checkers know the names, and would take any other for one of them
    __getattr__ = lookup.no_such_name(__name__, __all__)

# kind: its class. A model without tasks is measured as the first one whose `infer` fits its outputs; regression, the
# last, takes all that are left.
TASKS: dict[str, type[Task]] = {
    "classification": Classification,
    "multi_label": MultiLabel,
    "segmentation": Segmentation,
    "detection": Detection,
    "depth": Depth,
    "image_to_image": ImageToImage,
    "regression": Regression,
}
