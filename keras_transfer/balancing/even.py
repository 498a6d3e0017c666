"""Closed forms that give every gradient the same say: equal projections, equal lengths, equal components."""

import keras
import tensorflow as tf

from keras_transfer.balancing import algebra, base

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
        self, gram: tf.Tensor, losses: tf.Tensor, known: tf.Tensor, state: base.State
    ) -> tuple:
        """Returns the solution of G c = |g|, scaled."""
        matrix, lengths = algebra.cosines(gram, known)
        part = tf.cast(known, tf.float64)
        (found,) = algebra.solve(matrix, part)
        found = found / lengths
        size = tf.maximum(tf.reduce_sum(found), _LEAST_SUM * tf.reduce_sum(tf.abs(found)))
        return tf.reduce_sum(part) * found / size, state


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
        self, gram: tf.Tensor, losses: tf.Tensor, known: tf.Tensor, state: base.State
    ) -> tuple:
        """Returns the longest length over each."""
        squares = tf.linalg.diag_part(gram)
        return tf.sqrt(tf.reduce_max(squares) / tf.where(known, squares, 1.0)), state


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
        self, gram: tf.Tensor, losses: tf.Tensor, known: tf.Tensor, state: base.State
    ) -> tuple:
        """Returns the formula's coefficients."""
        values, vectors = tf.linalg.eigh(tf.cast(gram, tf.float64))
        strong = values > _RANK * values[-1]
        values = tf.where(strong, values, values[-1])
        factors = tf.where(strong, tf.sqrt(tf.reduce_min(values) / values), 0.0)
        along = tf.linalg.matvec(vectors, tf.cast(known, tf.float64), transpose_a=True)
        return tf.linalg.matvec(vectors, factors * along), state
