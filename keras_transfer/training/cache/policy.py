"""Deciding for every stage whether it trains on cached outputs of the frozen layers.

The upper part of the model then trains on them, image by image. Layers are shared: what the upper part learns, the
model has learned.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_transfer import features
from keras_transfer.core import checks
from keras_transfer.graphs import compiling, nodes
from keras_transfer.training import augmenting, freezing, inputs
from keras_transfer.training.cache import frozen, on_device, tracing
from keras_transfer.training.cache.outputs import Outputs
from keras_transfer.training.cache.rows import IMAGES, TRAIN, VALIDATION, VIEWS, Read, Rows
from keras_transfer.training.cache.settings import Cache
from keras_transfer.training.cache.traces import Part, form_of
from keras_transfer.training.methods import Method, head_fitting
from keras_transfer.training.stages import Stage

__all__ = ["Keeper", "Lent"]

# A model with one of these of its own does something that a part of it would not do.
OWN = ("fit", "evaluate", "train_step", "test_step", "compute_loss", "compute_metrics", "call")


class Lent(NamedTuple):
    """What `fit` gets in a stage."""

    model: keras.Model
    train: tf.data.Dataset
    validation: tf.data.Dataset | None


@dataclasses.dataclass
class Keeper:
    """Caches the outputs of the frozen layers, stage by stage.

    One pass over the images serves all stages that it can: outputs at several depths are cached together.

    Attributes:
        model: The user's model.
        given: The data.
        plan: The stages.
        cache: What the user asked for.
        views: How many random views of each training image to cache, where images are changed at random.
        seed: Of these views.
        note: Prints and records a line.
        verbose: Of the pass over the images.
    """

    model: keras.Model
    given: inputs.Inputs
    plan: Sequence[Stage]
    cache: Cache
    views: int = 1
    seed: int | None = None
    note: Callable[[str], object] = checks.note
    verbose: str | int = 0

    def __post_init__(self) -> None:
        self.rows = Rows(self.given, self.views, self.seed)
        self.passes = self.rows.passes
        self.outputs = Outputs(self.rows, self.cache, self.note, self.verbose)
        self._parts: dict[int, Part] = {}
        self._forms: dict[int, tuple] = {}
        self._on_device: set[int] = set()  # stages whose rows lie on the accelerator
        self._refused: set[int] = set()
        self._unstable: dict[int, str] = {}  # position of a call: why its output changes by itself
        self._order = nodes.nodes(self.model)
        self._tensors = {node.operation.name: node.outputs[0] for node in self._order}
        self._names = {
            id(tensor): node.operation.name for node in self._order for tensor in node.outputs
        }
        with freezing.as_before(self.model):
            self._candidates = []
            for stage in self.plan:
                stage.apply(self.model)
                self._candidates.append(self._candidates_of(stage))

    @property
    def facts(self) -> list[dict]:
        """What was cached, for the record."""
        return self.outputs.facts

    @property
    def is_rounded(self) -> bool:
        """Whether cached outputs differ from those that training on images would have seen."""
        return self.outputs.is_rounded

    def traced_optimizer(
        self,
        number: int,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        together: int,
    ) -> keras.optimizers.Optimizer:
        """Returns the optimizer of an upper part that an earlier run has traced, as new; `optimizer` without one.

        Args:
            number: Of the stage, from 0; the model has its `trainable` flags.
            model: The compiled model of the stage.
            optimizer: A new one, which nothing has used.
            together: How many steps are executed together.
        """
        traces, is_plain = self.cache.traces, type(self.plan[number].applied_method) is Method
        if traces is None or not is_plain:
            return optimizer
        self._forms[number] = form_of(model, optimizer, together)
        part = traces.take(self._forms[number])
        if part is None:
            return optimizer
        self._parts[number] = part
        return compiling.renew(part.model.optimizer, optimizer, part.model)

    def lend(self, number: int, model: keras.Model) -> Lent:
        """Returns what to fit in a stage: the upper part on cached rows, or `model` on the images.

        Args:
            number: Of the stage, from 0; the model has its `trainable` flags.
            model: The compiled model of the stage.
        """
        if not self._fill(number):
            return Lent(model, self.given.train, self.given.validation)
        kind, tensors = self.rows.kind_of_fit, self._frozen(number).crossing
        upper = self._part(number, model, tensors).model
        if getattr(upper, "optimizer", None) is model.optimizer:  # traced by an earlier run
            upper.reset_metrics()
        else:  # one set of slots for both
            compiling.compile_like(upper, model, optimizer=model.optimizer)

        reads = [self._read(kind, tensor) for tensor in tensors]
        if number in self._on_device:
            reads = [on_device.number]
        smooth = augmenting.make_smoother(self.model, self.given)
        train = self.rows.batches(TRAIN, kind, reads, smooth=smooth)
        if self.given.validation is None:
            return Lent(upper, train, None)
        return Lent(upper, train, self.rows.batches(VALIDATION, kind, reads))

    def _part(self, number: int, model: keras.Model, tensors: Sequence[keras.KerasTensor]) -> Part:
        """Returns the part of the model above some tensors that trains in a stage."""
        part = self._parts.get(number)
        if part is None or list(map(id, part.tensors)) != list(map(id, tensors)):
            with compiling.scope(model):
                upper = self._make_upper(number, model, tensors)
            part = self._parts[number] = Part(upper, tensors, self._forms.get(number, ()))
        return part

    def heads(self, number: int) -> dict[str, dict[str, np.ndarray]] | None:
        """Returns, by split, the inputs of the heads that a stage solves for; None where they are not cached."""
        if not self._fill(number):
            return None
        arrays = {
            task: np.asarray(self.outputs.arrays[IMAGES, below])
            for task, below in self._heads.items()
        }
        count = self.rows.count(TRAIN)
        parts = {TRAIN: {task: values[:count] for task, values in arrays.items()}}
        if self.given.validation is not None:
            parts[VALIDATION] = {task: values[count:] for task, values in arrays.items()}
        return parts

    def finish(self, number: int) -> None:
        """Drops what a stage that is over has changed, and what no later stage needs."""
        needed = set()
        for later in range(number + 1, len(self.plan)):
            if self._may_cache(later):
                needed |= {(self._kind(later), name) for name in self._needs(later)}
        changed = self._candidates[number].changed
        for kind, name in list(self.outputs.arrays):
            if (kind, name) not in needed or self._below(name) & changed:
                del self.outputs.arrays[kind, name]
        part = self._parts.pop(number, None)
        if part is None:
            return
        if number in self._on_device:
            on_device.release(part.model)
        elif part.form and self.cache.traces is not None:
            self.cache.traces.put(part)

    def _make_upper(
        self, number: int, model: keras.Model, tensors: Sequence[keras.KerasTensor]
    ) -> keras.Model:
        """Returns the part of a model that trains on cached rows, or on their numbers where the device has them."""
        kind = self.rows.kind_of_fit
        arrays = [self.outputs.arrays[kind, self._names[id(tensor)]] for tensor in tensors]
        room = on_device.find_room(arrays)
        if room is None:
            return nodes.above(model, tensors)
        self._on_device.add(number)
        size, free = (f"{each / 1e6:,.1f} MB" for each in room)
        self.note(
            f"The kept outputs of stage {number + 1} lie on the accelerator: they take {size}, and {free} are free."
        )
        return on_device.feed(model, tensors, arrays)

    def _candidates_of(self, stage: Stage) -> frozen.Candidates:
        """What a stage whose flags are set leaves unchanged."""
        candidates = frozen.candidates(self.model)
        if stage.batch_norm != "recalibrate":
            return candidates
        norms = {
            position
            for position, node in enumerate(self._order)
            if isinstance(node.operation, keras.layers.BatchNormalization)
        }
        return candidates._replace(changed=candidates.changed | norms)

    def _frozen(self, number: int) -> frozen.Frozen:
        """The frozen part in a stage, without the calls that a trace has shown to be unstable."""
        return frozen.find(self.model, self._candidates[number], self._unstable)

    def _kind(self, number: int) -> str:
        """Which training rows a stage needs."""
        return IMAGES if self.plan[number].applied_method.replaces_fit else self.rows.kind_of_fit

    def _needs(self, number: int) -> list[str]:
        """The names of the operations whose outputs a stage needs."""
        if self.plan[number].applied_method.replaces_fit:
            return list(self._heads.values())
        return [self._names[id(tensor)] for tensor in self._frozen(number).crossing]

    def _below(self, name: str) -> set[int]:
        """The positions of the calls that an operation's output depends on."""
        return nodes.ancestors(self._order, [self._tensors[name]])

    @functools.cached_property
    def _heads(self) -> dict[str, str]:
        """The operations below the heads that can be solved for, by task."""
        return {name: head.below for name, head in head_fitting.heads(self.model)[0].items()}

    def _may_cache(self, number: int, *, tell: bool = False) -> bool:
        """Whether a stage may train on cached rows, as far as can be said without another trace.

        Args:
            number: Of the stage.
            tell: Whether to print why not, where that may surprise; the stage is then not asked about again.
        """
        if self.cache.where == "off" or number in self._refused:
            return False
        stage = self.plan[number]
        if stage.applied_method.replaces_fit:
            calls = [node.operation.name for node in self._order]
            are_called_once = all(calls.count(name) == 1 for name in self._needs(number))
            return self.given.source is not None and are_called_once
        part = self._frozen(number)
        if not (part.crossing or part.reason) or not self._saves_time(stage):
            return False
        reason = part.reason or self._reason(stage)
        if reason and tell:
            self._refuse(number, reason)
        return not reason

    def _saves_time(self, stage: Stage) -> bool:
        if self.cache.where == "disk":  # for later runs
            return True
        if self.rows.kind_of_fit == VIEWS and self.views > 1:
            epochs = [
                self._epochs(each) for each in self.plan if not each.applied_method.replaces_fit
            ]
            return sum(epochs) > self.views
        return self._epochs(stage) > 1

    def _epochs(self, stage: Stage) -> int:
        return stage.total_epochs(self.given.known_steps or 1)

    def _reason(self, stage: Stage) -> str:
        """Says why the data or the stage rule out caching, "" if they do not."""
        changes = self.given.changes
        if name := compiling.own_method(self.model, OWN):
            return f"{type(self.model).__name__} has its own `{name}`"
        if self.given.source is None:
            return (
                "the order of a plain data set is not known (with data from kt.data they run once)"
            )
        if stage.applied_method.needs_images:
            return f"{type(stage.applied_method).__name__} needs the images in every step"
        if changes is not None and changes.mixes:
            return "images are mixed with others in each epoch"
        if self.rows.kind_of_fit == VIEWS and self.views == 1:
            return (
                "images are changed at random in each epoch "
                "(views=4 takes less time: four versions of each image, made once)"
            )
        return ""

    def _refuse(self, number: int, reason: str) -> None:
        self._refused.add(number)
        self.note(f"The frozen layers run in every epoch of stage {number + 1}: {reason}.")

    def _fill(self, number: int) -> bool:
        """Caches the outputs that a stage needs, where that can be done; returns whether all are there."""
        kind = self._kind(number)
        if not self._may_cache(number, tell=True):
            return False
        if not self._missing(kind, self._needs(number)):
            return True

        # The trace finds unstable calls, so the stage may need, and be able to cache, less than before.
        trace = self._trace(number)
        if not self._may_cache(number, tell=True):
            return False
        missing = self._missing(kind, self._needs(number))
        if not missing:
            return True

        # A head is solved for on what the model gives in inference.
        inference = self.plan[number].applied_method.replaces_fit
        if not trace.gives(missing.values(), inference=inference):
            return False
        return self._compute(number, missing, trace)

    def _compute(
        self, number: int, own: dict[str, keras.KerasTensor], trace: tracing.Trace
    ) -> bool:
        """Computes a stage's outputs, with those of later stages if there is room; returns whether that worked."""
        kind = self._kind(number)
        later = self._missing(kind, self._needed_later(number))
        both = own | {name: tensor for name, tensor in later.items() if trace.gives([tensor])}
        try:
            where = self.outputs.place(kind, own)
            with contextlib.suppress(checks.InputError, OSError):
                # Later stages must not send this one's outputs to the disk, nor keep them from being cached.
                if len(both) > len(own) and self.outputs.place(kind, both) == where:
                    self.outputs.compute(kind, both, trace, where)
                    return True
            self.outputs.compute(kind, own, trace, where)
        except (checks.InputError, OSError, NotImplementedError) as refused:
            self._refuse(
                number, f"their outputs could not be kept ({' '.join(str(refused).split())})"
            )
            return False
        return True

    def _trace(self, number: int) -> tracing.Trace:
        """Traces what a stage leaves unchanged, and learns which calls may give another result in every epoch."""
        candidates = self._candidates[number]
        batch = self.rows.images(self._kind(number)).element_spec
        changing = [
            variable
            for position in candidates.changed
            for variable in getattr(self._order[position].operation, "variables", ())
        ]
        trace = tracing.trace(
            self.model,
            candidates.positions,
            tf.TensorSpec((None, *batch.shape[1:]), batch.dtype),
            changing=changing,
            inference=self.plan[number].applied_method.replaces_fit,
        )
        self._unstable |= trace.unstable
        return trace

    def _missing(self, kind: str, names: Iterable[str]) -> dict[str, keras.KerasTensor]:
        """What is not cached yet of the outputs of some operations."""
        return {
            name: self._tensors[name] for name in names if (kind, name) not in self.outputs.arrays
        }

    def _needed_later(self, number: int) -> list[str]:
        """What later stages need of the same rows, and no stage before them changes."""
        names, changed = [], set(self._candidates[number].changed)
        for later in range(number + 1, len(self.plan)):
            if self._may_cache(later) and self._kind(later) == self._kind(number):
                names += [name for name in self._needs(later) if not self._below(name) & changed]
            changed |= self._candidates[later].changed
        return names

    def _read(self, kind: str, tensor: keras.KerasTensor) -> Read:
        """Returns a function from places, the indices of examples, to the cached rows of a tensor."""
        read = features.reader(self.outputs.arrays[kind, self._names[id(tensor)]])
        return lambda places: tf.cast(read(places), tensor.dtype)
