"""How alike tasks are: the angle between the directions in which they would move the trunk they share."""

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any  # tensors

import keras
import numpy as np
from keras import ops

from keras_transfer.core import labelled
from keras_transfer.graphs import compiling
from keras_transfer.layers import marks
from keras_transfer.machine import engine

__all__ = ["Similarity", "groups", "inner_products"]

MOST = 8  # tasks for which all groupings are tried: 4140


class Similarity(keras.callbacks.Callback):
    """Compares the gradients of the tasks after every epoch, on the same few batches.

    Similarity is the cosine between the gradients of two tasks' losses with respect to all the weights of the trunk
    that both reach, frozen ones included, in inference mode. It is the mean over epochs and batches in which both
    have labels.

    Args:
        model: The whole joint model, compiled; `fine_tune` also trains parts of it.
        batches: Tuples of (images, targets[, weights]).

    Attributes:
        seconds: Time that the comparisons took.

    Example:
        >>> import keras_transfer as kt
        >>> data = kt.data.scenes(48, image_size=32, targets=["class", "background"])
        >>> kinds = {name: kt.tasks.Classification(names) for name, names in data.class_names.items()}
        >>> model = kt.build_model(kt.backbone("tiny", weights=None), kinds)
        >>> similarity = Similarity(model, list(data.ordered("train").take(1)))
        >>> similarity.on_epoch_end(0)
        >>> [round(row[at], 3) for at, row in enumerate(similarity.mean())]
        [1.0, 1.0]
    """

    def __init__(self, model: keras.Model, batches: Sequence[tuple]) -> None:
        super().__init__()
        self.whole, self.batches = model, batches
        self.seconds = 0.0
        self._products: Callable | None = None
        count = len(marks.outputs(model))
        self._sums, self._counts = np.zeros((count, count)), np.zeros((count, count))

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Compares the gradients."""
        begin = time.perf_counter()
        if self._products is None:
            self._products = inner_products(self.whole)
        for batch in self.batches:
            with _frozen_balancer(self.whole):
                products = ops.convert_to_numpy(self._products(*batch)).astype("float64")
            norms = np.sqrt(np.diag(products))
            lengths = np.outer(norms, norms)
            known = (lengths > 0) & np.isfinite(products)
            self._sums += np.divide(products, lengths, out=np.zeros_like(products), where=known)
            self._counts += known
        self.seconds += time.perf_counter() - begin

    def mean(self) -> list[list[float | None]]:
        """Returns the similarities, in the order of the model's outputs.

        None stands where two tasks never had labels together.
        """
        return np.ma.divide(self._sums, self._counts).tolist()  # divisions by 0 are masked


def inner_products(model: keras.Model) -> Callable:
    """Returns a function of a batch that gives the tasks' inner products of gradients, (tasks, tasks).

    Args:
        model: A model with task outputs, compiled with a loss by task.
    """
    losses = compiling.arguments(model)["loss"]
    names = list(marks.outputs(model))
    weights = [
        weight
        for weight in marks.shared_weights(model)
        if "float" in weight.dtype and not weight.name.startswith("moving_")  # statistics
    ]

    def measure(images: Any, targets: Mapping, sample_weights: Mapping | None = None) -> list:
        answers = model(images, training=False)
        values = []
        for name in names:
            of_task = labelled.of_task(sample_weights, name)
            loss = losses[name](targets[name], answers[name], sample_weight=of_task)
            values.append(loss)
        return values

    find_gradients = engine.find_gradients(model, measure, weights)

    def products(*batch: Any) -> Any:
        rows = []
        for gradients in find_gradients(*batch):
            parts = []
            for weight, gradient in zip(weights, gradients, strict=True):
                if gradient is None:
                    gradient = ops.zeros(weight.shape)
                parts.append(ops.reshape(ops.cast(gradient, "float32"), (-1,)))
            rows.append(ops.concatenate(parts))
        return engine.inner_products(ops.stack(rows))

    return products


@contextlib.contextmanager
def _frozen_balancer(model: keras.Model) -> Iterator[None]:
    """Keeps a comparison that is traced in here from moving the balancer's state, as a training step would."""
    balance = marks.balance(model)
    if balance is None:
        yield
        return
    was = balance.is_idle
    balance.settle(learning=False)
    try:
        yield
    finally:
        balance.settle(learning=not was)


def groups(
    names: Sequence[str], similarity: Sequence[Sequence[float | None]] | np.ndarray
) -> list[list[str]]:
    """Returns the grouping with the largest sum of similarities within its groups; of equal ones, the coarsest.

    With more than 8 tasks not all groupings are tried: groups are merged as long as that makes the sum larger.

    Example:
        >>> groups(["a", "b", "c"], [[1, 0.5, -0.2], [0.5, 1, -0.1], [-0.2, -0.1, 1]])
        [['a', 'b'], ['c']]
    """
    table = np.nan_to_num(np.array(similarity, dtype="float64"))  # None counts as 0
    if len(names) > MOST:
        best = _merge(table)
    else:

        def rank(parts: Sequence[Sequence[int]]) -> tuple[float, int]:
            pairs = itertools.chain.from_iterable(itertools.combinations(part, 2) for part in parts)
            return sum(table[pair] for pair in pairs), -len(parts)

        partition = max(_partitions(list(range(len(names)))), key=rank)
        best = sorted(sorted(part) for part in partition)
    return [np.array(names, dtype=object)[part].tolist() for part in best]


def _merge(table: np.ndarray) -> list[list[int]]:
    """Returns a good grouping of many tasks: merges the two groups that are most alike, as long as any are."""
    parts = [[at] for at in range(len(table))]
    while len(parts) > 1:
        pairs = list(itertools.combinations(range(len(parts)), 2))
        likeness = [table[np.ix_(parts[one], parts[other])].sum() for one, other in pairs]
        best = int(np.argmax(likeness))
        if likeness[best] <= 0:
            break
        one, other = pairs[best]
        parts[one] = sorted(parts[one] + parts.pop(other))
    return sorted(parts)


def _partitions(items: list[int]) -> Iterator[list[list[int]]]:
    """Yields every way to divide `items` into groups."""
    if not items:
        yield []
        return
    first, rest = items[0], items[1:]
    for size in range(len(rest), -1, -1):
        for mates in itertools.combinations(rest, size):
            others = [item for item in rest if item not in mates]
            for parts in _partitions(others):
                yield [[first, *mates], *parts]
