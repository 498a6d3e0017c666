"""Low-rank updates of the kernels (Hu et al. 2021, arXiv:2106.09685), merged into them as training goes on."""

import contextlib
from collections.abc import Iterator

import keras

from keras_transfer.core import checks
from keras_transfer.graphs import compiling, paths
from keras_transfer.training.methods import base

__all__ = ["LowRank"]


@keras.saving.register_keras_serializable("keras_transfer")
class LowRank(base.Method):
    """Trains Keras's low-rank updates instead of the kernels, which get the updates added.

    The updates are in a copy of the model; layers without a kernel that is wide enough train as always.

    Args:
        rank: Of the updates; less than the width of some dense or convolution layer that trains.

    Example:
        >>> LowRank(4)
        LowRank(rank=4)
    """

    needs_images = True
    adds_variables = True

    def __init__(self, rank: int = 4) -> None:
        self.rank = checks.integer(rank, name="rank")

    def check(self, model: keras.Model) -> None:
        """Raises an error if no layer is wide enough."""
        if not self._wide_layers(model):
            raise checks.error(
                "`lora` must be below the width of some dense or convolution layer that trains",
                given=self.rank,
                fix="Lower the rank, or unfreeze layers of these kinds.",
            )

    @contextlib.contextmanager
    def attach(
        self, model: keras.Model, *, reference: base.Reference = None
    ) -> Iterator[base.Trainee]:
        """Gives a copy of `model` whose kernels stay as they are while low-rank updates to them train."""
        # clone_model would copy the optimizer of an earlier stage, too.
        with compiling.scope(model):
            copy = type(model).from_config(model.get_config())
        copy.set_weights(model.get_weights())
        copies = paths.leaves(copy)
        for path, layer in paths.leaves(model).items():
            copies[path].trainable = layer.trainable
        with compiling.scope(model):
            for path in self._wide_layers(model):
                copies[path].enable_lora(self.rank)
        compiling.compile_like(copy, model)

        def settle() -> None:
            for path, layer in paths.leaves(model).items():
                learned = copies[path]
                if not getattr(learned, "lora_enabled", False):
                    for variable, value in zip(layer.weights, learned.weights, strict=True):
                        variable.assign(value)
                    continue
                layer.kernel.assign(learned.kernel)  # the property adds the update to the kernel
                if getattr(learned, "bias", None) is not None:
                    layer.bias.assign(learned.bias)

        yield base.Trainee(copy, settle)

    def facts(self) -> dict:
        """Returns the rank."""
        return {"lora": self.rank}

    def get_config(self) -> dict:
        """Returns what the constructor takes."""
        return {"rank": self.rank}

    def _wide_layers(self, model: keras.Model) -> list[str]:
        """The paths of the layers that train and whose kernels are wider than the rank."""
        return [
            path
            for path, layer in paths.leaves(model).items()
            if layer.trainable
            and layer.weights
            and hasattr(layer, "enable_lora")
            and min(layer.kernel.shape[-2:]) > self.rank
        ]
