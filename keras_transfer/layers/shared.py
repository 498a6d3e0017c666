"""The tensors that several tasks learn through."""

import keras

from keras_transfer.graphs import ancestors, nodes
from keras_transfer.layers.task_output import outputs

__all__ = ["shared"]


def shared(model: keras.Model) -> list[keras.KerasTensor]:
    """Returns the deepest tensors through which the gradients of all tasks pass, bottom to top.

    With hard sharing it is the output of the representation's mark. Tasks that stop their gradient do not count.
    There are none where fewer than two tasks are left, or where these have no weights in common.

    Args:
        model: Of `kt.build_model`, also one that was loaded.

    Example:
        >>> import keras_transfer as kt
        >>> tasks = {"kind": kt.tasks.Classification(3), "age": kt.tasks.Regression()}
        >>> model = kt.build_model(kt.backbone("tiny", weights=None), tasks)
        >>> shared(model)[0] is kt.layers.representation(model).output
        True
    """
    learning = [
        layer
        for layer in outputs(model).values()
        if not getattr(layer.task, "stop_gradient", False)
    ]
    if len(learning) < 2:
        return []
    return ancestors.deepest(nodes.nodes(model), [layer.output for layer in learning])
