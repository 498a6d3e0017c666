"""Gradient surgery: each task's gradient is turned where it conflicts with another's."""

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_transfer.balancing import algebra, base
from keras_transfer.balancing.base import State, Tensor
from keras_transfer.core import checks

__all__ = ["GradVac", "PCGrad"]

_SHORTEST = 1e-12  # squared length of a turned gradient, to divide by


class _Meeting(NamedTuple):
    """Each task's gradient, as turned so far, meets the gradient of one other task; (tasks,) inner products."""

    product: Tensor
    square: Tensor
    square_of_other: Tensor
    other: Tensor
    """(tasks, tasks), row i has its 1 at the task that task i meets."""


class _Surgery(base.Balancer):
    """Turns all gradients at once, each away from (or towards) the others one after the other, in a random order.

    Row i of `turned` holds the coefficients of the turned g_i: adding a multiple of g_j to it adds to entry (i, j).
    """

    kind = "gradients"

    def __init__(self, *, seed: int = 0) -> None:
        self.seed = checks.integer(seed, name="seed", minimum=0, below=2**31)

    def initial(self, tasks: int) -> dict[str, np.ndarray]:
        """Returns the counter of steps."""
        return {"step": np.zeros((), "int32")}

    def combine(
        self, gram: Tensor, losses: Tensor, known: Tensor, state: State
    ) -> tuple[Tensor, State]:
        """Returns the sum of the turned gradients' coefficients."""
        tasks = known.shape[0]
        eye = ops.eye(tasks)
        pairs = known[:, None] & known[None, :] & (eye == 0)
        priority = base.draws(known, self.seed, state["step"], pairs=True)
        order = ops.argsort(ops.where(known[None, :], priority, 2.0), axis=1)

        turned, cosines = eye, ops.zeros((tasks, tasks))
        for place in range(tasks):
            other = ops.take(eye, order[:, place], axis=0)
            products = ops.sum(turned[:, :, None] * gram[None], axis=1)  # of turned g_i and g_j
            meeting = _Meeting(
                product=ops.sum(products * other, axis=1),
                square=ops.sum(products * turned, axis=1),
                square_of_other=algebra.matvec(other, ops.diagonal(gram)),
                other=other,
            )
            added, cosine = self._turn(meeting, state)
            pair = pairs & (other > 0)
            turned = turned + ops.where(pair, added[:, None], 0.0)
            cosines = ops.where(pair, cosine[:, None], cosines)

        coefficients = algebra.matvec(ops.transpose(turned), ops.cast(known, "float32"))
        return coefficients, self._next_state(cosines, state)

    def _turn(self, meeting: _Meeting, state: State) -> tuple[Tensor, Tensor]:
        """Returns how much of the other gradient each one gets, and the cosine between them; (tasks,) each."""
        raise NotImplementedError

    def _next_state(self, cosines: Tensor, state: State) -> dict[str, Tensor]:
        return {"step": state["step"] + 1}

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {"seed": self.seed}


@keras.saving.register_keras_serializable("keras_transfer")
class PCGrad(_Surgery):
    """Takes from each gradient what goes against another task's gradient, and sums what is left.

    From Yu, Kumar, Gupta, Levine, Hausman and Finn, "Gradient Surgery for Multi-Task Learning" (2020). g_i is
    projected onto the normal plane of each g_j that it then has a negative inner product with. The order of the g_j
    is drawn anew in each step, for each i.

    Args:
        seed: Chooses the orders.

    Example:
        >>> balancer = PCGrad()
        >>> gram = [[1.0, -1.0], [-1.0, 2.0]]
        >>> found, state = balancer.coefficients(gram, [1.0, 1.0], [True, True], balancer.initial(2))
        >>> found.numpy()  # g1 + g2 / 2, and g2 + g1
        array([2. , 1.5], dtype=float32)
    """

    def _turn(self, meeting: _Meeting, state: State) -> tuple[Tensor, Tensor]:
        added = -ops.minimum(meeting.product, 0.0) / meeting.square_of_other
        return added, ops.zeros_like(added)


@keras.saving.register_keras_serializable("keras_transfer")
class GradVac(_Surgery):
    """Turns each gradient towards another until their cosine is what it used to be, and sums.

    From Wang, Tsvetkov, Firat and Cao, "Gradient Vaccine: Investigating and Improving Multi-task Optimization in
    Massively Multilingual Models" (2021). For each ordered pair of tasks a running mean of the cosines is kept,
    0 at first; where a step's cosine is below it, so much of the other gradient is added that they are equal.
    As long as the mean is 0 that is `PCGrad`. The cosine is that of the gradient as the turns
    before have left it, and is noted whether or not there was a turn.

    Args:
        beta: How much one step counts in the running mean.
        seed: Chooses the orders in which the others come.

    Example:
        >>> balancer = GradVac()
        >>> gram = [[1.0, -1.0], [-1.0, 2.0]]
        >>> found, state = balancer.coefficients(gram, [1.0, 1.0], [True, True], balancer.initial(2))
        >>> found.numpy(), state["cosines"].numpy().round(4)
        (array([2. , 1.5], dtype=float32), array([[ 0.    , -0.0071],
               [-0.0071,  0.    ]], dtype=float32))
    """

    def __init__(self, beta: float = 0.01, *, seed: int = 0) -> None:
        super().__init__(seed=seed)
        self.beta = checks.number(beta, name="beta", minimum=0, below=1)

    def initial(self, tasks: int) -> dict[str, np.ndarray]:
        """Returns the counter of steps and the mean cosines."""
        return {**super().initial(tasks), "cosines": np.zeros((tasks, tasks), "float32")}

    def _turn(self, meeting: _Meeting, state: State) -> tuple[Tensor, Tensor]:
        length = ops.sqrt(ops.maximum(meeting.square, _SHORTEST))
        length_of_other = ops.sqrt(ops.maximum(meeting.square_of_other, _SHORTEST))
        cosine = ops.clip(meeting.product / (length * length_of_other), -1.0, 1.0)
        wanted = ops.sum(meeting.other * state["cosines"], axis=1)

        sine = ops.sqrt(1 - cosine**2)
        wanted_sine = ops.sqrt(ops.maximum(1 - wanted**2, _SHORTEST))
        added = length * (wanted * sine - cosine * wanted_sine) / (length_of_other * wanted_sine)
        return ops.where(cosine < wanted, added, 0.0), cosine

    def _next_state(self, cosines: Tensor, state: State) -> dict[str, Tensor]:
        mean = (1 - self.beta) * state["cosines"] + self.beta * cosines
        return {**super()._next_state(cosines, state), "cosines": mean}

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {"beta": self.beta, **super().get_config()}
