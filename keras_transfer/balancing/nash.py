"""Nash-MTL: the tasks bargain for the direction."""

import keras
from keras import ops

from keras_transfer.balancing import algebra, base
from keras_transfer.balancing.base import State, Tensor

__all__ = ["NashMTL"]

_STEPS = 50  # of Newton's method; about ten are needed
_CLOSE = 1e-9  # Newton decrement at which it ends
_NEAR = 0.25  # below this decrement full steps converge


@keras.saving.register_keras_serializable("keras_transfer")
class NashMTL(base.Balancer):
    """Takes the bargain in which every task gains the same share: c > 0 with (G c)_i = 1 / c_i.

    From Navon, Shamsian, Achituve, Maron, Kawaguchi, Chechik and Fetaya, "Multi-Task Learning as a
    Bargaining Game" (2022). c is at the least of c^T G c / 2 - sum_i log c_i and is found anew in each step
    by Newton's method. The paper's step has length sqrt(n) whatever the gradients' lengths are; here G is
    first divided by the mean of its diagonal, so the step is sqrt(n) times the gradients' root mean square:
    orthogonal gradients of equal length get 1 each, and gradients that are all doubled give a step of double
    length. A task's own scale does not matter: doubling one gradient halves its coefficient, up to the common
    factor.

    Example:
        >>> NashMTL().coefficients([[1.0, 0.0], [0.0, 4.0]], [1.0, 1.0], [True, True], {})[0].numpy().round(3)
        array([1.581, 0.791], dtype=float32)
    """

    kind = "gradients"

    def combine(
        self, gram: Tensor, losses: Tensor, known: Tensor, state: State
    ) -> tuple[Tensor, State]:
        """Returns the bargain's coefficients."""
        matrix, lengths = algebra.cosines(gram, known)

        def step(bargain: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
            gradient = algebra.matvec(matrix, bargain) - 1 / bargain
            (move,) = algebra.solve(matrix + ops.diag(bargain**-2.0), gradient)
            decrement = ops.sqrt(ops.maximum(ops.sum(gradient * move), 0.0))
            size = ops.where(decrement > _NEAR, 1 / (1 + decrement), 1.0)
            return bargain - size * move, decrement

        start = (ops.ones_like(lengths), ops.convert_to_tensor(1.0, algebra.PRECISE))
        bargain, _ = ops.while_loop(
            lambda _, decrement: decrement > _CLOSE, step, start, maximum_iterations=_STEPS
        )
        return bargain / lengths, state
