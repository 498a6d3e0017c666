"""Callbacks that unfreeze layers within one `model.fit`."""

from collections.abc import Sequence

import keras

from keras_transfer.core import checks
from keras_transfer.graphs import compiling, nodes
from keras_transfer.training import freezing

__all__ = ["GradualUnfreeze", "TwoStage"]


class _Staged(keras.callbacks.Callback):
    """Changes what trains when certain epochs begin; one `fit` then equals a `fit` for each part.

    Setting `trainable` within `fit` changes nothing by itself, because the traced step keeps its variables. So the
    model is compiled again with a new optimizer (old step counts would make the first steps of unfrozen weights
    several times too large), and the step is traced again.
    """

    def __init__(self, *, batch_norm: str, verbose: bool) -> None:
        super().__init__()
        self.batch_norm = checks.choice(
            batch_norm, ("inference", *freezing.TRAINING), name="batch_norm"
        )
        self.verbose = verbose
        self.part: int | None = None

    def parts(self) -> list[tuple[int, list[str], float | None]]:
        """Returns for each part its first epoch, the layers that train, and its rate (None for the optimizer's)."""
        raise NotImplementedError

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Checks everything that could fail later, before the first step."""
        nodes.check_functional(self.model)
        self.part = None
        self.parts()

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Starts the part that the epoch belongs to."""
        parts = self.parts()
        started = [number for number, (first, *_) in enumerate(parts) if first <= epoch]
        if not started or started[-1] == self.part:
            return
        self.part = started[-1]
        first, chosen, rate = parts[self.part]
        self._start(chosen, rate)

        if self.verbose:
            what = f"{chosen[0]} and above train" if chosen else "All layers train"
            rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
            is_resumed = self.part > 0 and epoch > first
            note = " The run is resumed, so the optimizer starts anew." if is_resumed else ""
            checks.note(f"Epoch {epoch + 1}: {what} at learning rate {rate:g}.{note}")

    def _start(self, chosen: list[str], rate: float | None) -> None:
        """Makes exactly the chosen layers train, with a new optimizer."""
        model = self.model
        old = model.optimizer
        for one in compiling.optimizers(model):
            # As at the end of a `fit`: the averages of the weights take their place.
            if getattr(one, "use_ema", False) and int(keras.ops.convert_to_numpy(one.iterations)):
                one.finalize_variable_values(one._trainable_variables)
        freezing.set_trainable(model, chosen, batch_norm=self.batch_norm)
        with compiling.scope(model):
            optimizer = _new_optimizer(old, rate)
        compiling.recompile(model, optimizer)
        model.make_train_function(force=True)


def _new_optimizer(
    optimizer: keras.optimizers.Optimizer, rate: float | None
) -> keras.optimizers.Optimizer:
    """Returns an optimizer of the same settings with empty slots; `compile` adds loss scaling again."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    config = inner.get_config()
    if rate is not None:
        config["learning_rate"] = rate
    return type(inner).from_config(config)


class TwoStage(_Staged):
    """Trains the head, and from a certain epoch on the upper trunk as well, within one `model.fit`.

    Equals two consecutive `fit` calls, the second with a new optimizer of the same settings and another rate;
    frozen batch normalisations run in inference mode. Works with mixed precision, `jit_compile`,
    `steps_per_execution`, moving averages and `MirroredStrategy`. To go on after a kill, use
    `kt.fine_tune(..., run_dir=..., resume=True)`.

    Args:
        unfreeze_at: First epoch (counted from 0) of the second stage.
        unfreeze: What trains then: a pattern (the first block or layer that matches, and all above) or "all".
        learning_rate: Of the second stage; the first has that of the compiled optimizer.
        batch_norm: "inference", "train" or "synchronized", for the thawed trunk.
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
        """Returns the head, then everything from `unfreeze` on."""
        upper = freezing.pick(self.model, self.unfreeze, argument="unfreeze")
        return [(0, freezing.head(self.model), None), (self.unfreeze_at, upper, self.learning_rate)]


class GradualUnfreeze(_Staged):
    """Unfreezes the trunk block by block from the top, within one `model.fit`.

    Like `TwoStage`, with one more block every few epochs.

    Args:
        every: Epochs between two blocks.
        start: First epoch with an unfrozen block; before it, the head trains alone.
        until: The lowest block to unfreeze; by default the bottom one.
        learning_rate: From that epoch on; that of the compiled optimizer by default.
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
        """Returns the head, then one block more in each part."""
        parts: list[tuple[int, list[str], float | None]] = []
        if self.start:
            parts.append((0, freezing.head(self.model), None))
        rate = self.learning_rate
        names = freezing.thawable(self.model, until=self.until)
        for number, name in enumerate(reversed(names)):
            first = self.start + number * self.every
            parts.append((first, freezing.pick(self.model, name), rate))
            rate = None if rate is None else rate * self.factor
        return parts
