"""Options of TensorFlow data sets."""

import tensorflow as tf

__all__ = ["plain", "untuned"]

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
