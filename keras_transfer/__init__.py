"""Transfer learning for Keras. Public names load on first use: importing the package takes milliseconds."""

import importlib
import warnings
from typing import TYPE_CHECKING

from keras_transfer.core import lookup as _lookup
from keras_transfer.machine import kernels as _kernels

__version__ = "0.1.0"

__all__ = [
    "GradualUnfreeze",
    "InputError",
    "Stage",
    "TwoStage",
    "__version__",
    "auto",
    "backbone",
    "backbones",
    "balancing",
    "build_model",
    "check_tpu",
    "compare",
    "compare_blocks",
    "compare_runs",
    "compare_tasks",
    "compile",
    "data",
    "doctor",
    "evaluate",
    "evaluation",
    "explain",
    "export",
    "features",
    "find_learning_rate",
    "fine_tune",
    "freeze",
    "layers",
    "load_model",
    "losses",
    "metrics",
    "model_classes",
    "models",
    "nearest",
    "predict",
    "predict_video",
    "rank_backbones",
    "representation_map",
    "serving",
    "strategy",
    "studies",
    "tasks",
    "testing",
    "to_keras",
    "trainable_table",
    "training",
    "unfreeze",
    "verify",
]

# name: the module that defines it. Every other public name is a room, which is a module of its own.
_HOMES = {
    "GradualUnfreeze": "training",
    "InputError": "core.checks",
    "Stage": "training",
    "TwoStage": "training",
    "auto": "studies",
    "backbone": "backbones",
    "build_model": "models",
    "check_tpu": "studies",
    "compare": "studies",
    "compare_blocks": "evaluation",
    "compare_runs": "evaluation",
    "compare_tasks": "studies",
    "compile": "models",
    "doctor": "studies",
    "evaluate": "evaluation",
    "explain": "evaluation",
    "export": "serving",
    "find_learning_rate": "training",
    "fine_tune": "training",
    "freeze": "training",
    "load_model": "models",
    "model_classes": "models",
    "nearest": "evaluation",
    "predict": "evaluation",
    "predict_video": "evaluation",
    "rank_backbones": "studies",
    "representation_map": "evaluation",
    "strategy": "machine.strategy",
    "to_keras": "models",
    "trainable_table": "training",
    "unfreeze": "training",
    "verify": "serving",
}
_RENAMED = {"comparing": "studies"}  # the old name works for one release

if TYPE_CHECKING:  # what type checkers and editors see: the same names with their signatures
    from keras_transfer import (
        backbones,
        balancing,
        data,
        evaluation,
        features,
        layers,
        losses,
        metrics,
        models,
        serving,
        studies,
        tasks,
        testing,
        training,
    )
    from keras_transfer.backbones import backbone
    from keras_transfer.core.checks import InputError

    # From the file where a room has a file and a verb of one name: mypy would take the file.
    from keras_transfer.evaluation import (
        compare_blocks,
        compare_runs,
        nearest,
        predict,
        predict_video,
        representation_map,
    )
    from keras_transfer.evaluation.evaluate import evaluate
    from keras_transfer.evaluation.explain.explaining import explain
    from keras_transfer.machine.strategy import strategy
    from keras_transfer.models import build_model, compile, load_model, model_classes, to_keras
    from keras_transfer.serving import export, verify
    from keras_transfer.studies import auto, check_tpu, compare, compare_tasks, rank_backbones
    from keras_transfer.studies.doctor.examine import doctor
    from keras_transfer.training import (
        GradualUnfreeze,
        Stage,
        TwoStage,
        find_learning_rate,
        freeze,
        trainable_table,
        unfreeze,
    )
    from keras_transfer.training.fine_tune import fine_tune
else:  # hidden from type checkers, which would take any misspelt name for one that this function finds

    def __getattr__(name: str) -> object:
        """Loads a room or a verb on its first use (PEP 562)."""
        if name in _RENAMED:
            text = f"`keras_transfer.{name}` is now `keras_transfer.{_RENAMED[name]}`: use kt.{_RENAMED[name]}."
            warnings.warn(text, DeprecationWarning, stacklevel=2)
            return importlib.import_module(f"keras_transfer.{_RENAMED[name]}")
        if name not in __all__:
            _lookup.no_such_name("kt", __all__)(name)
        if name not in _HOMES:
            return importlib.import_module(f"keras_transfer.{name}")
        value = getattr(importlib.import_module(f"keras_transfer.{_HOMES[name]}"), name)
        globals()[name] = value
        return value


_kernels.choose()  # TensorFlow reads this setting when it is first imported, which may be next


def __dir__() -> list[str]:
    """Lists the public names without loading them."""
    return sorted(__all__)
