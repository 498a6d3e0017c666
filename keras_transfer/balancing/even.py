"""Closed forms that give every gradient the same say: equal projections, equal lengths, equal components."""

import keras
from keras import ops

from keras_transfer.balancing import algebra, base
from keras_transfer.balancing.base import State, Tensor

__all__ = ["DBMTL", "IMTLG", "AlignedMTL"]

_LEAST_SUM = 0.1  # of coefficients, as a share of the sum of their magnitudes
_RANK = 1e-6  # eigenvalues below this share of the largest are rounding


@keras.saving.register_keras_serializable("keras_transfer")
class IMTLG(base.Balancer):
    """Takes the direction whose projections onto all gradients are equally long.

    The part for gradients of Liu, Li, Kuang, Xue, Chen, Yang, Liao and Zhang, "Towards Impartial Multi-task
    Learning" (2021), where the coefficients sum to 1; here they sum to n. Some may be negative. Where their sum is
    below a tenth of their magnitudes' sum, they are divided by that instead: the paper's closed form would
    make the step very long there, or turn it round.

    Example:
        >>> IMTLG().coefficients([[1.0, 0.0], [0.0, 4.0]], [1.0, 1.0], [True, True], {})[0].numpy().round(3)
        array([1.333, 0.667], dtype=float32)
    """

    kind = "gradients"

    def combine(
        self, gram: Tensor, losses: Tensor, known: Tensor, state: State
    ) -> tuple[Tensor, State]:
        """Returns the solution of G c = |g|, scaled."""
        matrix, lengths = algebra.cosines(gram, known)
        ones = ops.cast(known, algebra.PRECISE)
        (solution,) = algebra.solve(matrix, ones)
        solution = solution / lengths
        size = ops.maximum(ops.sum(solution), _LEAST_SUM * ops.sum(ops.abs(solution)))
        return ops.sum(ones) * solution / size, state


@keras.saving.register_keras_serializable("keras_transfer")
class DBMTL(base.Balancer):
    """Makes all gradients as long as the longest: the coefficients are max_j |g_j| / |g_i|.

    The balance of gradients in Lin, Jiang, Ye, Zhang, Chen, Chen, Liu and Kwok, "Dual-Balancing for
    Multi-Task Learning" (2023). The paper takes the gradients of the losses' logarithms, which changes
    the direction's length only and is left out here (`LogLosses` has it for the losses). It also averages
    the gradients over steps, which inner products cannot.

    Example:
        >>> DBMTL().coefficients([[1.0, 0.0], [0.0, 4.0]], [1.0, 1.0], [True, True], {})[0].numpy()
        array([2., 1.], dtype=float32)
    """

    kind = "gradients"

    def combine(
        self, gram: Tensor, losses: Tensor, known: Tensor, state: State
    ) -> tuple[Tensor, State]:
        """Returns the longest length over each."""
        squares = ops.diagonal(gram)
        return ops.sqrt(ops.max(squares) / ops.where(known, squares, 1.0)), state


@keras.saving.register_keras_serializable("keras_transfer")
class AlignedMTL(base.Balancer):
    """Replaces the gradients by the nearest ones that are orthogonal and equally long, and sums those.

    From Senushkin, Patakin, Kuznetsov and Konushin, "Independent Component Alignment for Multi-Task Learning"
    (2023): with eigenvalues l and eigenvectors V of G, the coefficients are sqrt(min l) V l**-1/2 V^T 1. The length
    is that of the weakest component, so strong conflicts make the step short. Eigenvalues below a
    millionth of the largest are left out, with their component.

    Example:
        >>> AlignedMTL().coefficients([[1.0, 0.0], [0.0, 4.0]], [1.0, 1.0], [True, True], {})[0].numpy().round(3)
        array([1. , 0.5], dtype=float32)
    """

    kind = "gradients"

    def combine(
        self, gram: Tensor, losses: Tensor, known: Tensor, state: State
    ) -> tuple[Tensor, State]:
        """Returns the formula's coefficients."""
        values, vectors = ops.linalg.eigh(ops.cast(gram, algebra.PRECISE))
        strong = values > _RANK * values[-1]
        values = ops.where(strong, values, values[-1])
        factors = ops.where(strong, ops.sqrt(ops.min(values) / values), 0.0)
        along = algebra.matvec(ops.transpose(vectors), ops.cast(known, algebra.PRECISE))
        return algebra.matvec(vectors, factors * along), state
