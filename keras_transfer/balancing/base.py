"""The protocol of a balancer, and what holds for all of them."""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

__all__ = ["Balancer", "State", "draws", "shares"]

State = Mapping[str, object]
"""Arrays or tensors by name: scalars, (tasks,) or (tasks, tasks)."""

_STILL = 1e-12  # squared length of a gradient, as a share of the longest one's; less is rounding


class Balancer:
    """Says how much each of several tasks counts in a training step; subclass it for one of your own.

    Pure functions on small tensors: the caller keeps the state and multiplies. A balancer of the kind
    "losses" weighs the losses, whose weighted sum is then trained on. One of the kind "gradients"
    looks at the matrix G[i, j] = <g_i, g_j> of the tasks' gradients at what they share, which is all that
    such a method needs, and answers with coefficients c of the common direction sum_i c_i g_i. All keep to
    a plain sum's scale, 1 for each task, so that a learning rate keeps its meaning.

    A subclass sets `kind` and overrides `weigh` or `combine`, and `initial` if it has a state;
    `get_config` returns what its constructor takes, and the class is registered with
    `keras.saving.register_keras_serializable`. The rest is taken care of:

    - A task that is not known, because the batch has no labels for it, gets 0, has no say in what the others
      get, and its part of the state stays. If none is known, all of the state stays.
    - A known task whose loss or gradient is not a finite number is treated the same way, except that it
      gets 1: the step then fails as it does without a balancer, and no state remembers it. Nor does a task
      without a gradient take part; it gets 1.
    - Gradients that are all multiplied by the same number, as for mixed precision, change nothing.

    Losses and matrix are float32: the squared lengths of gradients must lie between 1e-37 and 1e38.

    Example:
        >>> import keras
        >>> @keras.saving.register_keras_serializable("docs")
        ... class Inverse(Balancer):
        ...     def weigh(self, losses, known, state):
        ...         return 1 / losses, state
        >>> weights, state = Inverse().weights([0.5, 4.0, np.nan], [True, True, False], {})
        >>> weights.numpy()
        array([2.  , 0.25, 0.  ], dtype=float32)
    """

    kind = "losses"
    """What is balanced: "losses" or "gradients"."""
    is_constant = False
    """Whether the weights never change."""
    own_scale = False
    """Whether a task that is alone may be given another weight than 1."""

    def initial(self, tasks: int) -> dict[str, np.ndarray]:
        """Returns the state before the first step, as arrays by name; {} if there is none.

        An array is a scalar, one number a task, or one a pair of tasks. A method that draws random numbers
        has a counter `step`.
        """
        return {}

    def weights(self, losses: object, known: object, state: State) -> tuple[tf.Tensor, dict]:
        """Returns the tasks' weights in the sum of losses, and the state for the next step.

        Args:
            losses: One float a task.
            known: One bool a task: whether the batch has labels for it.
            state: From `initial` or from the step before.
        """
        losses, known = _vectors(losses, known)
        state = {name: tf.convert_to_tensor(value) for name, value in state.items()}
        part = known & tf.math.is_finite(losses)
        found, new = self.weigh(tf.where(part, losses, 1.0), part, state)
        return _spread(found, part, known), _kept(new, state, part)

    def coefficients(
        self, gram: object, losses: object, known: object, state: State
    ) -> tuple[tf.Tensor, dict]:
        """Returns the coefficients of the tasks' gradients, and the state for the next step.

        Args:
            gram: (tasks, tasks) inner products of the gradients.
            losses: One float a task.
            known: One bool a task: whether the batch has labels for it.
            state: From `initial` or from the step before.
        """
        losses, known = _vectors(losses, known)
        state = {name: tf.convert_to_tensor(value) for name, value in state.items()}
        gram = tf.stop_gradient(tf.convert_to_tensor(gram, tf.float32))
        squares = tf.linalg.diag_part(gram)
        finite = known & tf.math.is_finite(squares) & tf.math.is_finite(losses)
        squares = tf.where(finite, squares, 0.0)
        longest = tf.reduce_max(squares)
        part = finite & (squares > _STILL * longest)
        shares_of_longest = tf.where(part, squares / tf.where(longest > 0, longest, 1.0), 0.0)
        mean = longest * tf.reduce_sum(shares_of_longest) / tf.maximum(_count(part), 1.0)
        unit = tf.where(part[:, None] & part[None, :], gram / mean, 0.0)
        found, new = self.combine(unit, tf.where(part, losses, 1.0), part, state)
        return _spread(found, part, known), _kept(new, state, part)

    def weigh(self, losses: tf.Tensor, known: tf.Tensor, state: State) -> tuple[tf.Tensor, State]:
        """Returns weights and new state for the tasks that are known; what stands at the others is not read.

        Args:
            losses: (tasks,) float32, finite; 1 where not known.
            known: (tasks,) bool.
            state: Tensors by name.
        """
        raise NotImplementedError

    def combine(
        self, gram: tf.Tensor, losses: tf.Tensor, known: tf.Tensor, state: State
    ) -> tuple[tf.Tensor, State]:
        """Returns coefficients and new state for the tasks that are known; what stands at the others is not read.

        Args:
            gram: (tasks, tasks) float32, with a diagonal of mean 1 over the known tasks; 0 where not known.
            losses: (tasks,) float32, finite; 1 where not known.
            known: (tasks,) bool; each has a gradient.
            state: Tensors by name.
        """
        raise NotImplementedError

    def get_config(self) -> dict:
        """Returns what the constructor takes."""
        return {}

    @classmethod
    def from_config(cls, config: dict) -> "Balancer":
        """Makes the balancer again from its config."""
        return cls(**config)

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({arguments})"


def _vectors(losses: object, known: object) -> tuple[tf.Tensor, tf.Tensor]:
    losses = tf.stop_gradient(tf.convert_to_tensor(losses, tf.float32))
    return losses, tf.convert_to_tensor(known, tf.bool)


def _count(known: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.cast(known, tf.float32))


def _spread(found: tf.Tensor, part: tf.Tensor, known: tf.Tensor) -> tf.Tensor:
    return tf.where(part, tf.cast(found, tf.float32), tf.cast(known, tf.float32))


def _kept(new: State, old: dict, part: tf.Tensor) -> dict:
    """The new state, but the old one wherever a task that took no part is concerned."""
    masks = (tf.reduce_any(part), part, part[:, None] & part[None, :])
    return {
        name: tf.where(masks[value.shape.rank], new[name], value) for name, value in old.items()
    }


def shares(logits: tf.Tensor, known: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the softmax over the known tasks, 0 for the others, and how many are known as a float.

    Example:
        >>> shares(tf.constant([1.0, 1.0, 7.0]), tf.constant([True, True, False]))[0].numpy()
        array([0.5, 0.5, 0. ], dtype=float32)
    """
    return tf.nn.softmax(tf.where(known, logits, logits.dtype.min)), _count(known)


def draws(known: tf.Tensor, seed: int, step: tf.Tensor, *, pairs: bool = False) -> tf.Tensor:
    """Returns random numbers in (0, 1): the i-th known task gets the i-th one, whatever stands between.

    The same on every device, and in graphs that are compiled, which TensorFlow's own are not.

    Args:
        known: (tasks,) bool; what the others get means nothing.
        seed: Together with `step` says which numbers.
        step: Integer scalar.
        pairs: Whether there is a number for each pair of tasks.

    Example:
        >>> numbers = draws(tf.constant([True, False, True]), 0, tf.constant(0)).numpy()
        >>> bool(numbers[2] == draws(tf.constant([True, True]), 0, tf.constant(0)).numpy()[1])
        True
    """
    rank = tf.cumsum(tf.cast(known, tf.int64))
    mixed = _mixed(_mixed(_mixed(tf.constant(seed, tf.int64)) + tf.cast(step, tf.int64)) + rank)
    if pairs:
        mixed = _mixed(mixed[:, None] + rank[None, :])
    return (
        tf.cast(mixed // 2**9, tf.float32) + 0.5
    ) / 2.0**23  # 23 bits: with the half, a float32 holds them


def _mixed(number: tf.Tensor) -> tf.Tensor:
    """A number below 2**32 that looks random: the last steps of Appleby's MurmurHash3, in int64."""
    number = (number + 0x9E3779B9) & 0xFFFFFFFF  # so that 0 is none that stays
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        number = ((number ^ number // 2**shift) * factor) & 0xFFFFFFFF
    return number ^ number // 2**16
