"""A TensorFlow SavedModel as a layer that trains, freezes and is saved like any other."""

import contextlib
import math
import os
import pathlib
import shutil
from collections.abc import Mapping

import keras
from keras import ops

from keras_transfer.core import checks
from keras_transfer.graphs import paths
from keras_transfer.machine import engine
from keras_transfer.storage import loaded_modules, saved_models

__all__ = ["BATCH_NORM", "SavedModelLayer"]

BATCH_NORM = ("inference", "train")


@keras.saving.register_keras_serializable("keras_transfer")
class SavedModelLayer(keras.layers.Layer):
    """Calls a TensorFlow SavedModel (a TF Hub module is one) on its inputs; its variables are the layer's weights.

    The module's own call is used if it has one. While the layer is trainable, its regularisation losses count, and
    with `batch_norm="train"` it runs in training mode. A signature has no such losses and always runs in inference
    mode, but its weights train. Under mixed precision the module keeps its own precision.

    A `.keras` file of a model with this layer holds the whole SavedModel and does not need its folder. Only
    `kt.load_model(path, trust=True)` loads such a file, because a SavedModel is a program. A process that trusted it
    can clone the layer; a clone starts with the SavedModel's own weights.

    Args:
        handle: Folder of the SavedModel.
        output: Key of the output to take, a signature to call instead of the module, or "signature:key". By
            default the output "default", or the only one.
        arguments: Further arguments of the module's call by name, such as `{"batch_norm_momentum": 0.9}`.
        batch_norm: "inference" keeps the statistics of batch normalisations and leaves dropout off, even while the
            weights train: a module has one switch for both. "train" turns it on in `fit`, while the layer is trainable.
        trust: Whether the code in the SavedModel may run.
        digest: Digest of a SavedModel that this process trusts, used instead of the folder.

    Raises:
        InputError: If it is no SavedModel that can be called, there is no such argument or output, or it is not
            trusted.

    Example:
        >>> import tensorflow as tf
        >>> module = tf.Module()
        >>> module.scale = tf.Variable(3.0)
        >>> module.__call__ = tf.function(lambda x: x * module.scale, input_signature=[tf.TensorSpec([None, 2])])
        >>> tf.saved_model.save(module, "module")
        >>> layer = SavedModelLayer("module", trust=True)
        >>> layer(tf.ones((1, 2))).numpy().tolist(), len(layer.trainable_variables)
        ([[3.0, 3.0]], 1)
    """

    def __init__(
        self,
        handle: str | os.PathLike,
        *,
        output: str | None = None,
        arguments: Mapping | None = None,
        batch_norm: str = "inference",
        trust: bool = False,
        digest: str | None = None,
        **kwargs: object,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        engine.require_tensorflow("a SavedModel")
        self.handle = os.fspath(handle)
        self.output_name = output
        self.arguments = dict(arguments or {})
        self.batch_norm = checks.choice(batch_norm, BATCH_NORM, name="batch_norm")
        self.strides = 1  # image side divided by map side; set when the layer is built
        if digest is None:
            saved_models.describe(self.handle)
            saved_models.check_trust(self.handle, trust=trust)
            self.digest = saved_models.keep(self.handle)
        else:
            self.digest = digest
        folder = _trusted_copy(self.digest, self.handle)
        module = loaded_modules.Module(folder, output=output, arguments=self.arguments)
        # Wrapped now: a built layer takes no more variables, and optimizers need them before a file's assets are read.
        self._variables_of_module = _wrap(module, self.name)
        if not self.trainable:
            for variable in self._variables_of_module:
                variable.trainable = False
        self._module = module
        self._loaded = module.loaded  # `export` finds the module's tables and files by it
        if digest is None:
            self.tell()

    def tell(self) -> None:
        """Prints a line for each thing that the module cannot do."""
        signature = self._module.call.signature
        if signature:
            checks.note(
                f"{self.handle}: dropout and batch normalisation of its signature {signature!r} stay in inference "
                "mode, and it adds no regularisation losses"
            )
        if not self._module.trainable:
            checks.note(f"{self.handle}: has no variables that can train: it stays frozen")

    @property
    def has_modes(self) -> bool:
        """Whether the module differs in training, as batch normalisation and dropout do."""
        return True in self._module.call.training

    def build(self, input_shape: tuple) -> None:
        """Sets `strides` by the shape of the output."""
        before, after = input_shape, self.compute_output_shape(input_shape)
        if len(before) == len(after) == 4 and before[1] and after[1]:
            self.strides = 2 ** max(0, round(math.log2(before[1] / after[1])))
        self.built = True

    def call(self, inputs: keras.KerasTensor, training: bool | None = None) -> keras.KerasTensor:
        """Returns the module's output, in the layer's compute type."""
        learns = bool(training) and self.trainable and self.batch_norm == "train"
        outputs = self._module(ops.cast(inputs, self._module.dtype), training=learns)
        if self.trainable:
            for loss in self._module.regularisers:
                self.add_loss(loss())
        # A module saved for images of any size does not know the shape of its output.
        outputs.set_shape(self.compute_output_shape(inputs.shape))
        return ops.cast(outputs, self.compute_dtype) if outputs.dtype.is_floating else outputs

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """Returns the shape of the output, found by running the module once."""
        batch, *sides = input_shape
        return (batch, *self._module.output_shape(tuple(sides)))

    def save_assets(self, folder: str) -> None:
        """Puts the SavedModel into the model's file."""
        copy = pathlib.Path(folder) / "saved_model"
        shutil.copytree(_trusted_copy(self.digest, self.handle), copy, dirs_exist_ok=True)

    def get_config(self) -> dict:
        """Returns the arguments of the constructor but `trust`."""
        return {
            **super().get_config(),
            "handle": self.handle,
            "output": self.output_name,
            "arguments": dict(self.arguments),
            "batch_norm": self.batch_norm,
            "digest": self.digest,
        }

    @classmethod
    def from_config(cls, config: dict) -> "SavedModelLayer":
        """Makes the layer from a SavedModel that this process trusts; a config cannot grant trust."""
        # Checked here already: Keras turns an error of the constructor into another one of many lines.
        _trusted_copy(config.get("digest"), config.get("handle"))
        return super().from_config(config)


def _trusted_copy(digest: str | None, handle: str | None) -> pathlib.Path:
    """Returns the folder of a SavedModel that this process was told to trust; another one is an error."""
    copy = saved_models.kept(digest)
    if copy is None:
        raise checks.error(
            "a SavedModel must be trusted before a layer is made of its config",
            given=repr(handle),
            fix="If you trust its author, load the model's file with kt.load_model(path, trust=True).",
        )
    return copy


def _wrap(module: loaded_modules.Module, name: str) -> list[keras.Variable]:
    """Makes Keras variables that share the memory of the module's, named as there, below the layer's name."""
    wrapped: list[keras.Variable] = []
    taken: set[str] = set()
    for variable in (*module.trainable, *module.others):
        path = paths.free_name(variable.name.partition(":")[0], taken)
        taken.add(path)

        *scopes, last = [name, *filter(None, path.split("/"))]
        is_trainable = len(wrapped) < len(module.trainable)
        with contextlib.ExitStack() as stack:
            for scope in scopes:
                stack.enter_context(keras.name_scope(scope))
            made = keras.Variable(
                variable, dtype=variable.dtype, trainable=is_trainable, autocast=False, name=last
            )
        if made.value is not variable:
            raise RuntimeError(
                "this version of Keras copies a tf.Variable; the module's weights cannot train"
            )
        wrapped.append(made)
    return wrapped
