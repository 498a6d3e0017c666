"""Linear algebra on the matrix of the gradients' inner products, in float64, for a handful of tasks.

No decomposition of a library is used where elimination does: those stop with an error at a matrix that rounding has
made singular, and a training step must not.
"""

from typing import NamedTuple

import tensorflow as tf

__all__ = ["Cosines", "cosines", "solve", "steepest"]

_RIDGE = 1e-6  # added to the cosines' diagonal; above the rounding of float32 inner products
_LEVEL = 1e-10  # slopes below this count as none


class Cosines(NamedTuple):
    """A matrix of inner products, taken apart."""

    matrix: tf.Tensor
    """(tasks, tasks) float64: cosines plus a ridge of a millionth; the identity's rows at tasks that are not known."""
    lengths: tf.Tensor
    """(tasks,) float64; 1 at tasks that are not known."""


def cosines(gram: tf.Tensor, known: tf.Tensor) -> Cosines:
    """Returns the cosines between gradients, with a little added to the diagonal, and the gradients' lengths.

    The ridge makes the matrix one that can be inverted, also if gradients are parallel.

    Example:
        >>> lengths = cosines(tf.constant([[4.0, 0.0], [0.0, 9.0]]), tf.constant([True, True])).lengths
        >>> lengths.numpy()
        array([2., 3.])
    """
    gram = tf.cast(gram, tf.float64)
    lengths = tf.sqrt(tf.where(known, tf.linalg.diag_part(gram), 1.0))
    matrix = gram / (lengths[:, None] * lengths[None, :])
    pairs = known[:, None] & known[None, :]
    eye = tf.eye(gram.shape[0], dtype=tf.float64)
    return Cosines(tf.where(pairs, matrix, 0.0) * (1 - eye) + (1 + _RIDGE) * eye, lengths)


def solve(matrix: tf.Tensor, *right: tf.Tensor) -> list[tf.Tensor]:
    """Returns x of `matrix @ x = right` for each right side; the matrix is symmetric and positive definite.

    By elimination without an exchange of rows, which such a matrix does not need.

    Example:
        >>> (x,) = solve(tf.constant([[2.0, 1.0], [1.0, 2.0]], tf.float64), tf.constant([3.0, 3.0], tf.float64))
        >>> x.numpy()
        array([1., 1.])
    """
    size = matrix.shape[0]
    eye = tf.eye(size, dtype=matrix.dtype)
    rows = tf.concat([matrix, tf.stack(right, axis=1)], axis=1)
    for k in range(size):
        pivot = rows[k] / rows[k, k]
        rows = rows + eye[:, k : k + 1] * pivot - rows[:, k : k + 1] * pivot
    return tf.unstack(rows[:, size:], axis=1)


def steepest(
    gram: tf.Tensor, known: tf.Tensor, radius: float | None
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns what turns the mean gradient g0 into the direction along which the slowest task gains most.

    Of all d within `radius * |g0|` of g0, the one with the largest min_i <g_i, d> is g0 + sum_i m_i g_i with
    m >= 0. As the distance grows, the smallest gain t grows, and m moves along straight pieces: the tasks of
    a set S gain exactly t, all others more, and m is zero outside S. A piece ends where a task joins S or
    leaves it. The pieces are followed until the distance is reached, or for `radius=None` until the last.

    Returns:
        m at the end, and its slope along the last piece, which without a radius points to the shortest vector
        of the convex hull of all g_i; (tasks,) float64 each.

    Example:
        >>> gram = tf.constant([[1.0, 0.0], [0.0, 0.25]])
        >>> slope = steepest(gram, tf.constant([True, True]), None)[1].numpy()
        >>> (slope / slope.sum()).round(4)
        array([0.2, 0.8])
    """
    matrix, lengths = cosines(gram, known)
    full = tf.cast(gram, tf.float64)
    count = tf.maximum(tf.reduce_sum(tf.cast(known, tf.float64)), 1.0)
    with_mean = tf.reduce_sum(full, axis=1) / count  # <g_i, g0>
    limit = 0.0 if radius is None else radius**2 * tf.maximum(tf.reduce_sum(with_mean) / count, 0.0)
    infinity = tf.constant(float("inf"), tf.float64)
    # In unknowns x_i = m_i |g_i|, task i gains |g_i| ((matrix x)_i + mean_i) and must gain t.
    unit, mean = 1 / lengths, with_mean / lengths

    def piece(members: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """On which x = t * slope - offset."""
        inside = tf.cast(members, tf.float64)
        both = inside[:, None] * inside[None, :]
        return solve(matrix * both + tf.linalg.diag(1 - inside), unit * inside, mean * inside)

    def reached(slope: tf.Tensor, offset: tf.Tensor) -> tf.Tensor:
        """The t at which the distance is reached: |sum m g|^2 = t^2 a - 2 t b + c."""
        a, b, c = (tf.reduce_sum(x) for x in (unit * slope, unit * offset, mean * offset))
        return (b + tf.sqrt(tf.maximum(b * b - a * (c - limit), 0.0))) / a

    def step(
        members: tf.Tensor, gain: tf.Tensor, slope: tf.Tensor, offset: tf.Tensor, _: tf.Tensor
    ) -> tuple:
        rise = tf.linalg.matvec(matrix, slope) - unit
        spare = mean - tf.linalg.matvec(matrix, offset)
        joins = tf.where(rise < -_LEVEL * unit, spare / -tf.minimum(rise, -_LEVEL * unit), infinity)
        leaves = tf.where(
            slope < -_LEVEL * unit, offset / tf.minimum(slope, -_LEVEL * unit), infinity
        )
        events = tf.where(known, tf.maximum(tf.where(members, leaves, joins), gain), infinity)
        first = tf.reduce_min(events)
        going = first < (infinity if radius is None else tf.maximum(reached(slope, offset), gain))
        members ^= going & tf.one_hot(
            tf.argmin(events), known.shape[0], on_value=True, off_value=False
        )
        return members, tf.where(going, first, gain), *piece(members), going

    worst = tf.where(known, with_mean, infinity)
    members = tf.one_hot(tf.argmin(worst), known.shape[0], on_value=True, off_value=False)
    alone = tf.cast(members, tf.float64) / tf.linalg.diag_part(matrix)
    start = (members, tf.reduce_min(worst), alone * unit, alone * mean, tf.constant(True))
    most = 6 * known.shape[0] + 6  # about as many events as there are tasks happen
    _, gain, slope, offset, _ = tf.while_loop(
        lambda *now: now[-1], step, start, maximum_iterations=most
    )
    end = gain if radius is None else tf.maximum(reached(slope, offset), gain)
    return tf.maximum(end * slope - offset, 0.0) / lengths, tf.maximum(slope, 0.0) / lengths
