"""A discriminator of patches that learns beside a model whose answers are pictures.

The model learns to give answers that the discriminator takes for targets, and the discriminator to tell them apart
(Goodfellow et al. 2014), with an optimizer of its own, in the same step. It is part of no model: it is neither saved
nor exported. A run that goes on takes its weights up again. It needs TensorFlow's tape.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_transfer.machine import engine

__all__ = ["Adversary"]

RATE, MOMENTUM = 2e-4, 0.5  # of Radford, Metz and Chintala 2016
WIDTHS = (32, 64, 128)
LEAK = 0.2
GROUPS = 8


class Adversary:
    """Judges patches of 34 x 34 pixels, whether they are of a target (Isola et al. 2017).

    The losses are least squares (Mao et al. 2017). Its first weights are always the same.

    Args:
        channels: Of the pictures, with values 0..255.
        weight: What the judgement counts beside the other losses, whose unit is a share of white.

    Example:
        >>> adversary = Adversary(3)
        >>> adversary.network(ops.zeros((1, 32, 32, 3))).shape
        TensorShape([1, 8, 8, 1])
    """

    def __init__(self, channels: int, *, weight: float = 0.01) -> None:
        self.weight = weight
        self.network = _network(channels)
        self.optimizer = keras.optimizers.Adam(RATE, beta_1=MOMENTUM)
        self.optimizer.build(self.network.trainable_variables)
        self.cost = keras.metrics.Mean(name="discriminator_loss")
        self._start = [ops.convert_to_numpy(variable) for variable in self.variables]

    @property
    def variables(self) -> list[keras.Variable]:
        """All that changes while it learns, the state of its optimizer included."""
        return [*self.network.variables, *self.optimizer.variables]

    def reset(self) -> None:
        """Forgets what it learned."""
        for variable, value in zip(self.variables, self._start, strict=True):
            variable.assign(value)

    def judge(self, answers: Any, weights: Any) -> Any:
        """Returns what the model's answers cost: 0 where all are taken for targets."""
        cost = ops.square(self.network(_shares(answers), training=True) - 1.0)
        return self.weight * _mean(cost, weights)

    def learn(self, targets: Any, answers: Any, weights: Any) -> None:
        """Takes a step towards 1 for targets and 0 for answers, which do not change by it."""
        import tensorflow as tf  # `kt.build_model` has checked that it is the engine

        variables = self.network.trainable_variables
        pairs = ops.concatenate([_shares(targets), ops.stop_gradient(_shares(answers))], axis=0)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([variable.value for variable in variables])
            true, made = ops.split(self.network(pairs, training=True), 2, axis=0)
            cost = _mean(ops.square(true - 1.0) + ops.square(made), weights) / 2
            share = cost / engine.count_replicas()  # gradients of all replicas are summed
        gradients = tape.gradient(share, [variable.value for variable in variables])
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        self.cost.update_state(cost)


def _network(channels: int) -> keras.Model:
    images = keras.Input((None, None, channels), dtype="float32")
    x = images
    for number, width in enumerate(WIDTHS):
        x = _convolve(x, width, strides=2 if number < 2 else 1, number=number)
        if number:
            x = keras.layers.GroupNormalization(GROUPS, name=f"norm_{number}", dtype="float32")(x)
        x = keras.layers.LeakyReLU(LEAK, name=f"relu_{number}", dtype="float32")(x)
    return keras.Model(images, _convolve(x, 1, strides=1, number=len(WIDTHS)))


def _convolve(x: keras.KerasTensor, width: int, *, strides: int, number: int) -> keras.KerasTensor:
    initial = keras.initializers.RandomNormal(stddev=0.02, seed=number)
    layer = keras.layers.Conv2D(
        width,
        4,
        strides=strides,
        padding="same",
        kernel_initializer=initial,
        name=f"conv_{number}",
        dtype="float32",
    )
    return layer(x)


def _shares(pictures: Any) -> Any:
    """Returns pictures with values -1..1."""
    return ops.cast(pictures, "float32") / 127.5 - 1.0


def _mean(cost: Any, weights: Any) -> Any:
    """Returns the mean over places and those pictures whose target is known."""
    by_picture = ops.mean(cost, axis=tuple(range(1, len(cost.shape))))
    if weights is None:
        return ops.mean(by_picture)
    weights = ops.cast(weights, "float32")
    return ops.divide_no_nan(ops.sum(weights * by_picture), ops.sum(weights))
