"""The protocol of a balancer, and what holds for all of them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from keras import ops

__all__ = ["Balancer", "State", "Tensor", "draws", "shares"]

Tensor = Any  # of whichever backend Keras runs on
State = Mapping[str, Tensor]
"""Arrays or tensors by name: scalars, (tasks,) or (tasks, tasks)."""

_STILL = 1e-12  # squared length of a gradient, as a share of the longest one's; less is rounding


class Balancer:
    """Decides how much each of several tasks counts in a training step; subclass it for one of your own.

    A balancer has pure functions on small tensors; the caller keeps the state and multiplies. A balancer of kind
    "losses" weighs the losses, and training follows their weighted sum. One of kind "gradients" reads the matrix
    G[i, j] = <g_i, g_j> of the tasks' gradients at what they share, which is all that such a method needs, and returns
    coefficients c of the common direction sum_i c_i g_i. All keep to the scale of a plain sum, 1 for each task, so
    that a learning rate keeps its meaning.

    A subclass sets `kind` and overrides `weigh` or `combine`, and `initial` if it has a state; `get_config` returns
    the constructor's arguments, and the class is registered with `keras.saving.register_keras_serializable`. Compute
    with `keras.ops`, so that it works on every backend. `weights` and `coefficients` do the rest:

    - A task that is not known, because the batch has no labels for it, gets 0, does not change what the others get,
      and its part of the state stays. If none is known, all of the state stays.
    - A known task whose loss or gradient is not a finite number is treated the same way, but gets 1: the step then
      fails as it would without a balancer, and the state does not remember it. A task without a gradient takes no part
      either, and gets 1.
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

    def weights(self, losses: Any, known: Any, state: State) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the tasks' weights in the sum of losses, and the state for the next step.

        Args:
            losses: One float a task.
            known: One bool a task: whether the batch has labels for it.
            state: From `initial` or from the step before.
        """
        losses, known, state = _tensors(losses, known, state)
        active = known & ops.isfinite(losses)
        weights, new_state = self.weigh(ops.where(active, losses, 1.0), active, state)
        return _complete(weights, active, known), _keep_inactive(new_state, state, active)

    def coefficients(
        self, gram: Any, losses: Any, known: Any, state: State
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the coefficients of the tasks' gradients, and the state for the next step.

        Args:
            gram: (tasks, tasks) inner products of the gradients.
            losses: One float a task.
            known: One bool a task: whether the batch has labels for it.
            state: From `initial` or from the step before.
        """
        losses, known, state = _tensors(losses, known, state)
        gram = ops.stop_gradient(ops.convert_to_tensor(gram, "float32"))

        squares = ops.diagonal(gram)
        finite = known & ops.isfinite(squares) & ops.isfinite(losses)
        squares = ops.where(finite, squares, 0.0)
        longest = ops.max(squares)
        active = finite & (squares > _STILL * longest)

        # Shares first: a sum of squares could overflow.
        shares_of_longest = ops.where(active, squares / ops.where(longest > 0, longest, 1.0), 0.0)
        mean = longest * ops.sum(shares_of_longest) / ops.maximum(_count(active), 1.0)
        unit = ops.where(active[:, None] & active[None, :], gram / mean, 0.0)

        losses = ops.where(active, losses, 1.0)
        coefficients, new_state = self.combine(unit, losses, active, state)
        return _complete(coefficients, active, known), _keep_inactive(new_state, state, active)

    def weigh(self, losses: Tensor, known: Tensor, state: State) -> tuple[Tensor, State]:
        """Returns weights and new state for the tasks that are known; other entries are not read.

        Args:
            losses: (tasks,) float32, finite; 1 where not known.
            known: (tasks,) bool.
            state: Tensors by name.
        """
        raise NotImplementedError

    def combine(
        self, gram: Tensor, losses: Tensor, known: Tensor, state: State
    ) -> tuple[Tensor, State]:
        """Returns coefficients and new state for the tasks that are known; other entries are not read.

        Args:
            gram: (tasks, tasks) float32, with a diagonal of mean 1 over the known tasks; 0 where not known.
            losses: (tasks,) float32, finite; 1 where not known.
            known: (tasks,) bool; each has a gradient.
            state: Tensors by name.
        """
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Balancer":
        """Makes the balancer again from its config."""
        return cls(**config)

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({arguments})"


def _tensors(losses: Any, known: Any, state: State) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    losses = ops.stop_gradient(ops.convert_to_tensor(losses, "float32"))
    known = ops.convert_to_tensor(known, "bool")
    return losses, known, {name: ops.convert_to_tensor(value) for name, value in state.items()}


def _count(known: Tensor) -> Tensor:
    return ops.sum(ops.cast(known, "float32"))


def _complete(numbers: Tensor, active: Tensor, known: Tensor) -> Tensor:
    """Puts 1 at known tasks that took no part, 0 at those that are not known."""
    return ops.where(active, ops.cast(numbers, "float32"), ops.cast(known, "float32"))


def _keep_inactive(new: State, old: State, active: Tensor) -> dict[str, Tensor]:
    """Returns the new state, but the old one wherever a task that took no part is concerned."""
    masks = (ops.any(active), active, active[:, None] & active[None, :])
    return {
        name: ops.where(masks[len(value.shape)], new[name], value) for name, value in old.items()
    }


def shares(logits: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the softmax over the known tasks, 0 for the others, and how many are known as a float.

    Example:
        >>> logits, known = ops.convert_to_tensor([1.0, 1.0, 7.0]), ops.convert_to_tensor([True, True, False])
        >>> shares(logits, known)[0].numpy()
        array([0.5, 0.5, 0. ], dtype=float32)
    """
    logits = ops.where(known, logits, float(np.finfo("float32").min))
    powers = ops.exp(logits - ops.max(logits))  # `ops.softmax` warns where there is one task
    return powers / ops.sum(powers), _count(known)


def draws(known: Tensor, seed: int, step: Tensor, *, pairs: bool = False) -> Tensor:
    """Returns random numbers in (0, 1): the i-th known task gets the i-th one, whatever stands between.

    The numbers are the same on every device and backend, and in compiled graphs, unlike those of the libraries.

    Args:
        known: (tasks,) bool; numbers at the other tasks mean nothing.
        seed: Chooses the numbers together with `step`.
        step: Integer scalar.
        pairs: Whether to draw a number for each pair of tasks.

    Example:
        >>> numbers = draws(ops.convert_to_tensor([True, False, True]), 0, 0).numpy()
        >>> bool(numbers[2] == draws(ops.convert_to_tensor([True, True]), 0, 0).numpy()[1])
        True
    """
    rank = ops.cast(ops.cumsum(ops.cast(known, "int32")), "uint32")
    mixed = _mix(ops.convert_to_tensor(np.uint32(seed)))
    mixed = _mix(_mix(mixed + ops.cast(step, "uint32")) + rank)
    if pairs:
        mixed = _mix(mixed[:, None] + rank[None, :])
    bits = ops.cast(mixed // np.uint32(2**9), "int32")  # 23: with the half, a float32 holds them
    return (ops.cast(bits, "float32") + 0.5) / 2.0**23


def _mix(number: Tensor) -> Tensor:
    """Returns a uint32 that looks random: the last steps of Appleby's MurmurHash3. Overflow is intended."""
    number = number + np.uint32(0x9E3779B9)  # 0 would stay 0
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        number = (number ^ number // np.uint32(2**shift)) * np.uint32(factor)
    return number ^ number // np.uint32(2**16)
