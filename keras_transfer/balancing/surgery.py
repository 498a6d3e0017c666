"""Gradient surgery: each task's gradient is turned where it conflicts with another's."""

import keras
import numpy as np
import tensorflow as tf

from keras_transfer.balancing import base
from keras_transfer.core import checks

__all__ = ["GradVac", "PCGrad"]

_SHORTEST = 1e-12  # squared length of a turned gradient, to divide by


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
        self, gram: tf.Tensor, losses: tf.Tensor, known: tf.Tensor, state: base.State
    ) -> tuple:
        """Returns the sum of the turned gradients' coefficients."""
        tasks = known.shape[0]
        priority = base.draws(known, self.seed, state["step"], pairs=True)
        order = tf.argsort(tf.where(known[None, :], priority, 2.0), axis=1, stable=True)
        turned = tf.eye(tasks)
        notes = self._notes(tasks)
        for place in range(tasks):
            other = tf.one_hot(order[:, place], tasks)  # row i: which g_j it is for task i
            pair = known[:, None] & known[None, :] & (other > 0) & ~tf.eye(tasks, dtype=tf.bool)
            with_other = tf.reduce_sum(turned @ gram * other, axis=1)
            square = tf.reduce_sum(turned @ gram * turned, axis=1)
            square_of_other = tf.linalg.matvec(other, tf.linalg.diag_part(gram))
            added, note = self._added(with_other, square, square_of_other, other, state)
            turned += tf.where(pair, added[:, None], 0.0)
            notes = tf.where(pair, note[:, None], notes)
        known = tf.cast(known, tf.float32)
        return tf.linalg.matvec(turned, known, transpose_a=True), self._after(notes, state)

    def _notes(self, tasks: int) -> tf.Tensor:
        """What `_added` notes of each pair, to begin with."""
        return tf.zeros((tasks, tasks))

    def _added(
        self,
        with_other: tf.Tensor,
        square: tf.Tensor,
        square_of_other: tf.Tensor,
        other: tf.Tensor,
        state: base.State,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """How much of the other gradient each one gets, and a number to note; from inner products."""
        raise NotImplementedError

    def _after(self, notes: tf.Tensor, state: base.State) -> base.State:
        return {"step": state["step"] + 1}

    def get_config(self) -> dict:
        """Returns what the constructor takes."""
        return {"seed": self.seed}


@keras.saving.register_keras_serializable("keras_transfer")
class PCGrad(_Surgery):
    """Takes from each gradient what goes against another task's gradient, and sums what is left.

    From Yu, Kumar, Gupta, Levine, Hausman and Finn, "Gradient Surgery for Multi-Task Learning" (2020). g_i is
    projected onto the normal plane of each g_j that it then has a negative inner product with. The order of the g_j
    is drawn anew in each step, for each i.

    Args:
        seed: Says which orders.

    Example:
        >>> balancer = PCGrad()
        >>> gram = [[1.0, -1.0], [-1.0, 2.0]]
        >>> found, state = balancer.coefficients(gram, [1.0, 1.0], [True, True], balancer.initial(2))
        >>> found.numpy()  # g1 + g2 / 2, and g2 + g1
        array([2. , 1.5], dtype=float32)
    """

    def _added(
        self,
        with_other: tf.Tensor,
        square: tf.Tensor,
        square_of_other: tf.Tensor,
        other: tf.Tensor,
        state: base.State,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        return -tf.minimum(with_other, 0.0) / square_of_other, with_other


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
        seed: Says in which order the others come.

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

    def _added(
        self,
        with_other: tf.Tensor,
        square: tf.Tensor,
        square_of_other: tf.Tensor,
        other: tf.Tensor,
        state: base.State,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        length = tf.sqrt(tf.maximum(square, _SHORTEST))
        length_of_other = tf.sqrt(tf.maximum(square_of_other, _SHORTEST))
        cosine = tf.clip_by_value(with_other / (length * length_of_other), -1.0, 1.0)
        wanted = tf.reduce_sum(other * state["cosines"], axis=1)
        sine, wanted_sine = tf.sqrt(1 - cosine**2), tf.sqrt(tf.maximum(1 - wanted**2, _SHORTEST))
        added = length * (wanted * sine - cosine * wanted_sine) / (length_of_other * wanted_sine)
        return tf.where(cosine < wanted, added, 0.0), cosine

    def _after(self, notes: tf.Tensor, state: base.State) -> base.State:
        mean = (1 - self.beta) * state["cosines"] + self.beta * notes
        return {**super()._after(notes, state), "cosines": mean}

    def get_config(self) -> dict:
        """Returns what the constructor takes."""
        return {"beta": self.beta, **super().get_config()}
