"""How data sets of TensorFlow run."""

import tensorflow as tf

__all__ = ["plain", "untuned"]

# Functions given to `map` have nothing to convert, and finding that out takes up to a second.
plain = tf.autograph.experimental.do_not_convert


def untuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Returns `dataset` without TensorFlow's search for the best buffers and numbers of threads.

    The search takes a core, and who leaves an iterator waits for it: up to a second at the end of an epoch. Without it
    `tf.data.AUTOTUNE` means as many threads as there are cores.

    Example:
        >>> untuned(tf.data.Dataset.range(3)).options().autotune.enabled
        False
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)
