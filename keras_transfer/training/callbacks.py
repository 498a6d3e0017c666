"""Thawing within one `fit`, for people who call it themselves."""

from collections.abc import Sequence

import keras

from keras_transfer.core import checks
from keras_transfer.graphs import compiling, nodes
from keras_transfer.training import freezing

__all__ = ["GradualUnfreeze", "TwoStage"]


class _Staged(keras.callbacks.Callback):
    """Changes what trains at the beginning of chosen epochs, so that one `fit` equals one `fit` for each part.

    Setting flags within `fit` changes nothing by itself: the traced step keeps its variables. So the model is
    compiled again with a fresh optimizer (old step counts would make the first steps of thawed weights several
    times too large), and the step is traced again.
    """

    def __init__(self, *, batch_norm: str, verbose: bool) -> None:
        super().__init__()
        self.batch_norm = checks.choice(batch_norm, ("inference", "train"), name="batch_norm")
        self.verbose = verbose
        self.part: int | None = None

    def parts(self) -> list[tuple[int, list[str], float | None]]:
        """For each part its first epoch, the layers that train, and its rate (None for that of the optimizer)."""
        raise NotImplementedError

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Checks, before the first step, everything that could fail later."""
        if keras.backend.backend() != "tensorflow":
            raise checks.error(
                f"{type(self).__name__} needs the TensorFlow backend, whose training loop can change what trains",
                given=keras.backend.backend(),
                fix="Use kt.fine_tune, which calls `fit` once for each stage.",
            )
        nodes.check_functional(self.model)
        self.part = None
        self.parts()

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Starts the part that the epoch belongs to."""
        parts = self.parts()
        due = max(
            (number for number, (first, *_) in enumerate(parts) if first <= epoch), default=None
        )
        if due is None or due == self.part:
            return
        late = epoch > parts[due][0]
        self.part = due
        self._start(*parts[due][1:])
        if self.verbose:
            what = "all layers" if not parts[due][1] else f"{parts[due][1][0]} and above"
            note = "; a resumed run, so the optimizer starts anew" if late and due else ""
            checks.note(f"epoch {epoch + 1}: {what} train, {self._rate_text()}{note}")

    def _start(self, chosen: list[str], rate: float | None) -> None:
        model = self.model
        old = model.optimizer
        for one in compiling.optimizers(model):
            if getattr(one, "use_ema", False) and int(keras.ops.convert_to_numpy(one.iterations)):
                one.finalize_variable_values(
                    one._trainable_variables
                )  # what the end of a `fit` does
        freezing.set_trainable(model, chosen, batch_norm=self.batch_norm)
        with compiling.scope(model):
            fresh = _fresh(old, rate)
        compiling.recompile(model, fresh)
        model.make_train_function(force=True)

    def _rate_text(self) -> str:
        return f"learning rate {float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)):g}"


def _fresh(optimizer: keras.optimizers.Optimizer, rate: float | None) -> keras.optimizers.Optimizer:
    """An optimizer of the same settings with empty slots; loss scaling is put around it again by `compile`."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    config = inner.get_config()
    if rate is not None:
        config["learning_rate"] = rate
    return type(inner).from_config(config)


class TwoStage(_Staged):
    """Trains the head, and from an epoch on the upper trunk too, within one `model.fit`.

    The same as two consecutive `fit` calls, the second compiled anew: a fresh optimizer of the same settings
    with another rate, frozen batch normalisations in inference mode. Works with mixed precision, `jit_compile`,
    `steps_per_execution`, moving averages and `MirroredStrategy`; TensorFlow backend only. To go on after a kill,
    use `kt.fine_tune(..., run_dir=..., resume=True)`.

    Args:
        unfreeze_at: First epoch (counted from 0) of the second stage.
        unfreeze: What trains then: a pattern (the first block or layer that matches, and all above) or "all".
        learning_rate: Of the second stage; the first has that of the compiled optimizer.
        batch_norm: "inference" or "train", for the thawed trunk.
        verbose: Whether to print a line when a stage starts.

    Example:
        >>> import keras_transfer as kt
        >>> data = kt.data.scenes(n=40, image_size=32, validation=None)
        >>> model = kt.build_model(kt.backbone("tiny"), kt.tasks.Classification(data.class_names))
        >>> callback = TwoStage(unfreeze_at=1, verbose=False)
        >>> history = model.fit(data.train, epochs=2, callbacks=[callback], shuffle=False, verbose=0)
    """

    def __init__(
        self,
        *,
        unfreeze_at: int,
        unfreeze: str | Sequence[str] = "all",
        learning_rate: float = 1e-5,
        batch_norm: str = "inference",
        verbose: bool = True,
    ) -> None:
        super().__init__(batch_norm=batch_norm, verbose=verbose)
        self.unfreeze_at = checks.integer(unfreeze_at, name="unfreeze_at", minimum=0)
        self.unfreeze = unfreeze
        self.learning_rate = checks.number(learning_rate, name="learning_rate", above=0)

    def parts(self) -> list[tuple[int, list[str], float | None]]:
        """The head, then what is thawed."""
        upper = freezing.pick(self.model, self.unfreeze, argument="unfreeze")
        return [(0, freezing.head(self.model), None), (self.unfreeze_at, upper, self.learning_rate)]


class GradualUnfreeze(_Staged):
    """Thaws the trunk block by block from the top, within one `model.fit`.

    As `TwoStage`, with one more block every few epochs.

    Args:
        every: Epochs between two blocks.
        start: First epoch with a thawed block; before it, the head trains alone.
        until: The lowest block to thaw; by default the bottom one.
        learning_rate: Of the first thawed part; that of the compiled optimizer by default.
        factor: Each further part has the rate of the one before times this.
        batch_norm: As for `TwoStage`.
        verbose: As for `TwoStage`.

    Example:
        >>> GradualUnfreeze(every=2, start=4).every
        2
    """

    def __init__(
        self,
        *,
        every: int = 1,
        start: int = 1,
        until: str | None = None,
        learning_rate: float | None = None,
        factor: float = 1.0,
        batch_norm: str = "inference",
        verbose: bool = True,
    ) -> None:
        super().__init__(batch_norm=batch_norm, verbose=verbose)
        self.every = checks.integer(every, name="every")
        self.start = checks.integer(start, name="start", minimum=0)
        self.until = until
        self.learning_rate = (
            None
            if learning_rate is None
            else checks.number(learning_rate, name="learning_rate", above=0)
        )
        self.factor = checks.number(factor, name="factor", above=0)

    def parts(self) -> list[tuple[int, list[str], float | None]]:
        """The head, then one block more in each part."""
        found = [(0, freezing.head(self.model), None)] if self.start else []
        rate = self.learning_rate
        for number, name in enumerate(reversed(freezing.thawable(self.model, until=self.until))):
            found.append((self.start + number * self.every, freezing.pick(self.model, name), rate))
            rate = None if rate is None else rate * self.factor
        return found
