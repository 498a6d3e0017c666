"""Linear algebra on the matrix of the gradients' inner products, for a handful of tasks.

Elimination is written out, because the solvers of the libraries stop with an error at a matrix that rounding has made
singular, and a training step must not. Products are sums of products, because accelerators round those of matrices.
"""

from typing import NamedTuple

from keras import ops

from keras_transfer.balancing.base import Tensor
from keras_transfer.machine import engine

__all__ = ["PRECISE", "Cosines", "cosines", "matvec", "solve", "steepest"]

PRECISE = engine.PRECISE
"""The type to compute in."""
_RIDGE = 1e-6  # added to the cosines' diagonal; above the rounding of float32 inner products
_LEVEL = 1e-10  # slopes below this count as none


class Cosines(NamedTuple):
    """A matrix of inner products, taken apart."""

    matrix: Tensor
    """(tasks, tasks) cosines, a millionth added to the diagonal; rows of the identity for tasks that are not known."""
    lengths: Tensor
    """(tasks,) lengths of the gradients; 1 for tasks that are not known."""


def cosines(gram: Tensor, known: Tensor) -> Cosines:
    """Returns the cosines between gradients, with a little added to the diagonal, and the gradients' lengths.

    With that ridge the matrix can be inverted even if gradients are parallel.

    Example:
        >>> gram, known = ops.diag(ops.convert_to_tensor([4.0, 9.0])), ops.convert_to_tensor([True, True])
        >>> cosines(gram, known).lengths.numpy()
        array([2., 3.])
    """
    gram = ops.cast(gram, PRECISE)
    lengths = ops.sqrt(ops.where(known, ops.diagonal(gram), 1.0))
    matrix = gram / (lengths[:, None] * lengths[None, :])
    pairs = known[:, None] & known[None, :]
    eye = ops.eye(gram.shape[0], dtype=PRECISE)
    return Cosines(ops.where(pairs, matrix, 0.0) * (1 - eye) + (1 + _RIDGE) * eye, lengths)


def matvec(matrix: Tensor, vector: Tensor) -> Tensor:
    """Returns the product of a matrix and a vector.

    Example:
        >>> matvec(ops.convert_to_tensor([[1.0, 2.0], [3.0, 4.0]]), ops.convert_to_tensor([1.0, 1.0])).numpy()
        array([3., 7.], dtype=float32)
    """
    return ops.sum(matrix * vector[None, :], axis=1)


def solve(matrix: Tensor, *right: Tensor) -> list[Tensor]:
    """Returns x of `matrix @ x = right` for each right side; the matrix is symmetric and positive definite.

    Such a matrix needs no exchange of rows.

    Example:
        >>> (x,) = solve(ops.convert_to_tensor([[2.0, 1.0], [1.0, 2.0]]), ops.convert_to_tensor([3.0, 3.0]))
        >>> x.numpy()
        array([1., 1.], dtype=float32)
    """
    size = matrix.shape[0]
    eye = ops.eye(size, dtype=matrix.dtype)
    rows = ops.concatenate([matrix, ops.stack(right, axis=1)], axis=1)
    for k in range(size):
        pivot = rows[k] / rows[k, k]
        rows = rows + eye[:, k : k + 1] * pivot - rows[:, k : k + 1] * pivot
    return ops.unstack(rows[:, size:], axis=1)


def steepest(gram: Tensor, known: Tensor, radius: float | None) -> tuple[Tensor, Tensor]:
    """Returns what turns the mean gradient g0 into the direction along which the slowest task gains most.

    Of all d within `radius * |g0|` of g0, the one with the largest min_i <g_i, d> is g0 + sum_i m_i g_i with
    m >= 0. As the distance grows, the smallest gain t grows, and m moves along straight pieces: the tasks of
    a set S gain exactly t, all others more, and m is zero outside S. A piece ends where a task joins S or
    leaves it. The pieces are followed until the distance is reached, or for `radius=None` until the last.

    Returns:
        m at the end, and its slope along the last piece, which without a radius points to the shortest vector
        of the convex hull of all g_i; (tasks,) each.

    Example:
        >>> gram, known = ops.convert_to_tensor([[1.0, 0.0], [0.0, 0.25]]), ops.convert_to_tensor([True, True])
        >>> slope = steepest(gram, known, None)[1].numpy()
        >>> (slope / slope.sum()).round(4)
        array([0.2, 0.8])
    """
    matrix, lengths = cosines(gram, known)
    gram = ops.cast(gram, PRECISE)
    tasks = ops.arange(known.shape[0])
    infinity = ops.convert_to_tensor(float("inf"), PRECISE)

    count = ops.maximum(ops.sum(ops.cast(known, PRECISE)), 1.0)
    with_mean = ops.sum(gram, axis=1) / count  # <g_i, g0>
    limit = 0.0 if radius is None else radius**2 * ops.maximum(ops.sum(with_mean) / count, 0.0)
    # In unknowns x_i = m_i |g_i|, task i gains |g_i| ((matrix x)_i + mean_i) and must gain t.
    unit, mean = 1 / lengths, with_mean / lengths

    def solve_piece(members: Tensor) -> list[Tensor]:
        """Returns slope and offset of a piece, on which x = t * slope - offset."""
        inside = ops.cast(members, PRECISE)
        both = inside[:, None] * inside[None, :]
        return solve(matrix * both + ops.diag(1 - inside), unit * inside, mean * inside)

    def gain_at_limit(slope: Tensor, offset: Tensor) -> Tensor:
        """Returns the t at which the distance is reached: |sum m g|^2 = t^2 a - 2 t b + c."""
        a, b, c = ops.sum(unit * slope), ops.sum(unit * offset), ops.sum(mean * offset)
        return (b + ops.sqrt(ops.maximum(b * b - a * (c - limit), 0.0))) / a

    def follow(members: Tensor, gain: Tensor, slope: Tensor, offset: Tensor, _: Tensor) -> tuple:
        """Goes to the end of a piece, and on to the next unless the distance is reached before."""
        least = -_LEVEL * unit
        rise = matvec(matrix, slope) - unit
        spare = mean - matvec(matrix, offset)
        joins = ops.where(rise < least, spare / -ops.minimum(rise, least), infinity)
        leaves = ops.where(slope < least, offset / ops.minimum(slope, least), infinity)
        ends = ops.maximum(ops.where(members, leaves, joins), gain)
        ends = ops.where(known, ends, infinity)

        first = ops.min(ends)
        if radius is None:
            goes_on = first < infinity
        else:
            goes_on = first < ops.maximum(gain_at_limit(slope, offset), gain)
        members = members ^ (goes_on & (tasks == ops.argmin(ends)))
        return members, ops.where(goes_on, first, gain), *solve_piece(members), goes_on

    worst = ops.where(known, with_mean, infinity)
    members = tasks == ops.argmin(worst)
    alone = ops.cast(members, PRECISE) / ops.diagonal(matrix)
    start = (members, ops.min(worst), alone * unit, alone * mean, ops.convert_to_tensor(True))
    most = 6 * known.shape[0] + 6  # about as many pieces as there are tasks happen
    _, gain, slope, offset, _ = ops.while_loop(
        lambda *loop: loop[-1], follow, start, maximum_iterations=most
    )
    if radius is not None:
        gain = ops.maximum(gain_at_limit(slope, offset), gain)
    return ops.maximum(gain * slope - offset, 0.0) / lengths, ops.maximum(slope, 0.0) / lengths
