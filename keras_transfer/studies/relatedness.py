"""How alike tasks are: the angle between the directions in which they would move the trunk they share."""

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from keras_transfer.core import labelled
from keras_transfer.graphs import compiling
from keras_transfer.layers import marks

__all__ = ["Similarity", "groups", "inner_products"]

MOST = 8  # tasks whose groupings are all looked at: 4140


class Similarity(keras.callbacks.Callback):
    """Compares the gradients of the tasks after every epoch, on the same few batches.

    Similarity is the cosine between the gradients of two tasks' losses with respect to all the weights of the trunk
    that both reach, frozen ones included, in inference mode. It is the mean over epochs and batches in which both
    have labels.

    Args:
        model: The whole joint model, compiled; `fine_tune` also trains parts of it.
        batches: Of (images, targets[, weights]).

    Attributes:
        seconds: What the looking has taken.

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
        self._products = None
        count = len(marks.outputs(model))
        self._sums, self._counts = np.zeros((count, count)), np.zeros((count, count))

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Looks at the gradients."""
        begin = time.perf_counter()
        self._products = self._products or tf.function(
            inner_products(self.whole), reduce_retracing=True
        )
        for batch in self.batches:
            with _untouched(self.whole):
                found = self._products(*batch).numpy().astype("float64")
            norms = np.sqrt(np.diag(found))
            known = np.outer(norms > 0, norms > 0) & np.isfinite(found)
            self._sums += np.divide(
                found, np.outer(norms, norms), out=np.zeros_like(found), where=known
            )
            self._counts += known
        self.seconds += time.perf_counter() - begin

    def mean(self) -> list[list[float | None]]:
        """The similarities, in the order of the model's outputs; None where two tasks never had labels together."""
        return [
            [float(total / count) if count else None for total, count in zip(*row, strict=True)]
            for row in zip(self._sums, self._counts, strict=True)
        ]


def inner_products(model: keras.Model) -> Callable:
    """Returns a function of a batch that gives the tasks' inner products of gradients, (tasks, tasks).

    Args:
        model: With task outputs, compiled with a loss by task.
    """
    losses = compiling.arguments(model)["loss"]
    names = list(marks.outputs(model))
    weights = [
        each.value
        for each in model.weights
        if "float" in each.dtype and not each.name.startswith("moving_")
    ]  # statistics are no direction to move in

    def products(
        images: tf.Tensor, targets: Mapping, sample_weights: Mapping | None = None
    ) -> tf.Tensor:
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            tape.watch(weights)
            answers = model(images, training=False)
            values = [
                losses[name](
                    targets[name],
                    answers[name],
                    sample_weight=labelled.of_task(sample_weights, name),
                )
                for name in names
            ]
        by_task = [tape.gradient(value, weights) for value in values]
        rows = [[] for _ in names]
        for column in zip(*by_task, strict=True):
            if sum(each is not None for each in column) > 1:
                like = next(each for each in column if each is not None)
                for row, each in zip(rows, column, strict=True):
                    row.append(
                        tf.reshape(
                            tf.cast(tf.zeros_like(like) if each is None else each, "float32"), (-1,)
                        )
                    )
        flat = tf.stack([tf.concat(row, 0) for row in rows])
        return tf.matmul(flat, flat, transpose_b=True)

    return products


@contextlib.contextmanager
def _untouched(model: keras.Model) -> Iterator[None]:
    """Keeps a balancer of gradients from taking the looking, should it be traced now, for a training step."""
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


def groups(names: Sequence[str], similarity: Sequence[Sequence[float | None]]) -> list[list[str]]:
    """Returns the grouping with the largest sum of similarities within its groups; of equals, the one with fewest.

    Of more than 8 tasks not all groupings are looked at: groups are merged as long as that makes the sum larger.

    Example:
        >>> groups(["a", "b", "c"], [[1, 0.5, -0.2], [0.5, 1, -0.1], [-0.2, -0.1, 1]])
        [['a', 'b'], ['c']]
    """
    table = np.array([[0.0 if value is None else value for value in row] for row in similarity])
    if len(names) > MOST:
        return [[names[at] for at in part] for part in _merged(table)]

    def worth(parts: Sequence[Sequence[int]]) -> float:
        return sum(
            table[one, other] for part in parts for one, other in itertools.combinations(part, 2)
        )

    best = max(_partitions(list(range(len(names)))), key=lambda parts: (worth(parts), -len(parts)))
    return [[names[at] for at in part] for part in sorted(map(sorted, best))]


def _merged(table: np.ndarray) -> list[list[int]]:
    """A good grouping of many: the two groups that are most alike become one, as long as any are."""
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
    if not items:
        yield []
        return
    first, rest = items[0], items[1:]
    for size in range(len(rest), -1, -1):
        for mates in itertools.combinations(rest, size):
            others = [item for item in rest if item not in mates]
            for parts in _partitions(others):
                yield [[first, *mates], *parts]
