"""Options of TensorFlow data sets."""

import contextlib
import re
from collections.abc import Iterator

import tensorflow as tf

from keras_transfer.core import checks

__all__ = ["plain", "telling", "untuned"]

# Our functions for `map` need no AutoGraph, and its search for something to convert takes up to a second.
plain = tf.autograph.experimental.do_not_convert


def untuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Returns `dataset` without TensorFlow's search for the best buffer sizes and numbers of threads.

    The search keeps a core busy and delays the end of an epoch by up to a second. Without it `tf.data.AUTOTUNE` means
    one thread a core.

    Example:
        >>> untuned(tf.data.Dataset.range(3)).options().autotune.enabled
        False
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


@contextlib.contextmanager
def telling() -> Iterator[None]:
    """Raises as it was the `InputError` of a function that a data set calls: TensorFlow makes it one of its own.

    Example:
        >>> def read(row):
        ...     raise checks.error("every file must be an image", given="a.jpg")
        >>> dataset = tf.data.Dataset.range(1).map(lambda row: tf.numpy_function(read, [row], tf.int64))
        >>> with telling():
        ...     list(dataset)
        Traceback (most recent call last):
        keras_transfer.core.checks.InputError: every file must be an image. Given: a.jpg.
    """
    try:
        yield
    except tf.errors.InvalidArgumentError as problem:
        told = re.search(r"InputError: (.+)", problem.message)
        if told is None:
            raise
        raise checks.InputError(told[1]) from None
