"""Transfer learning for Keras; every public name is loaded on its first use."""

import importlib

from keras_transfer.machine import kernels as _kernels

__version__ = "0.1.0"

_ROOMS = (
    "backbones",
    "balancing",
    "studies",
    "data",
    "evaluation",
    "features",
    "layers",
    "losses",
    "metrics",
    "models",
    "serving",
    "tasks",
    "testing",
    "training",
)
_VERBS = {
    "GradualUnfreeze": "training",
    "Stage": "training",
    "TwoStage": "training",
    "backbone": "backbones",
    "build_model": "models",
    "compare_tasks": "studies",
    "compile": "models",
    "evaluate": "evaluation",
    "export": "serving",
    "find_learning_rate": "training",
    "fine_tune": "training",
    "freeze": "training",
    "load_model": "models",
    "trainable_table": "training",
    "unfreeze": "training",
    "verify": "serving",
}
__all__ = [*_ROOMS, *_VERBS, "__version__"]


def __getattr__(name: str) -> object:
    """Loads a room or a verb when it is first asked for (PEP 562)."""
    if name in _ROOMS:
        return importlib.import_module(f"keras_transfer.{name}")
    if name in _VERBS:
        value = getattr(importlib.import_module(f"keras_transfer.{_VERBS[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'keras_transfer' has no attribute '{name}'")


_kernels.choose()  # now: the next import may be that of TensorFlow


def __dir__() -> list[str]:
    """Lists the public names without loading them."""
    return sorted(__all__)
