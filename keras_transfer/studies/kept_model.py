"""A model that is trained from several seeds, one after the other, so that TensorFlow traces it once."""

import keras

from keras_transfer import training
from keras_transfer.graphs import compiling, paths
from keras_transfer.layers import marks

__all__ = ["KeptModel", "can_be_kept"]


def can_be_kept(model: keras.Model) -> bool:
    """Returns whether variables are all that training changes in a model: it has one task, without thresholds.

    Example:
        >>> import keras_transfer as kt
        >>> trunk = kt.backbone("tiny", weights=None)
        >>> can_be_kept(kt.build_model(trunk, kt.tasks.MultiLabel(["red", "round"])))
        False
    """
    tasks = [output.task for output in marks.outputs(model).values()]
    return len(tasks) == 1 and not tasks[0].calibrates


class KeptModel:
    """A model, and what its runs have traced.

    Args:
        model: Of `kt.build_model`; nothing has trained it.

    Attributes:
        model: The same object for all seeds.
        traces: For `kt.training.Cache`.

    Example:
        >>> import keras_transfer as kt
        >>> trunk, task = kt.backbone("tiny", weights=None), kt.tasks.Classification(2)
        >>> kept = KeptModel(kt.build_model(trunk, task, seed=0))
        >>> kept.begin_as(kt.build_model(trunk, task, seed=1))
    """

    def __init__(self, model: keras.Model) -> None:
        self.model = model
        self.traces = training.Traces()

    def begin_as(self, new: keras.Model) -> None:
        """Makes the model what another one of the same form is: weights, states of random layers, flags, losses.

        Args:
            new: Of `kt.build_model` on the same trunk; nothing has trained it.
        """
        mine, others = paths.leaves(self.model).values(), paths.leaves(new).values()
        for layer, other in zip(mine, others, strict=True):
            layer.trainable = other.trainable
            for variable, value in zip(layer.variables, other.variables, strict=True):
                if variable is not value:  # the trunk is the same
                    variable.assign(value)
        compiling.compile_like(self.model, new, optimizer=new.optimizer)
