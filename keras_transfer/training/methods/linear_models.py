"""Linear heads in closed form or to the optimum: softmax and logistic regression by L-BFGS, ridge regression by SVD.

Arrays in, arrays out; nothing here knows a model. A head's kernel is penalised, its bias is not.
"""

import functools
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import threadpoolctl
from scipy import optimize, special

__all__ = [
    "FAMILIES",
    "Family",
    "Linear",
    "Scaling",
    "folds",
    "log_loss",
    "logistic",
    "ridge_path",
    "scaling",
    "softmax",
    "softmax_path",
]

FLATTEST = 0.03  # a weaker penalty is not solved more exactly than this one: it would cost much and tell nothing


class Linear(NamedTuple):
    """`x @ kernel + bias`."""

    kernel: np.ndarray
    bias: np.ndarray
    iterations: int = 0
    converged: bool = True

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Returns the outputs (rows, outputs)."""
        return x @ self.kernel + self.bias


class Scaling(NamedTuple):
    """Features are centred and divided by one number, their root mean squared deviation.

    One number for all of them keeps features apart that vary much from those that hardly do; one each
    (standardising) gave no better heads on three sets of real features, and a higher log loss.
    """

    mean: np.ndarray
    scale: float

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Returns the scaled features."""
        return (x - self.mean) / self.scale

    def fold(self, head: Linear) -> Linear:
        """Returns the head for features that are not scaled."""
        kernel = head.kernel / self.scale
        return head._replace(kernel=kernel, bias=head.bias - self.mean @ kernel)


def scaling(x: np.ndarray) -> Scaling:
    """Returns the scaling of some features (rows, features).

    Example:
        >>> scaling(np.array([[0.0, 5.0], [2.0, 5.0]]))
        Scaling(mean=array([1., 5.]), scale=0.7071067811865476)
    """
    deviation = float(np.sqrt(x.var(axis=0, dtype="float64").mean()))
    return Scaling(x.mean(axis=0, dtype="float64"), deviation or 1.0)


def softmax(
    x: np.ndarray,
    targets: np.ndarray,
    strength: float,
    *,
    start: Linear | None = None,
    tolerance: float = 1e-7,
) -> Linear:
    """Returns the head with the least cross-entropy, summed over rows, plus `strength / 2 * |kernel|**2`.

    That of scikit-learn's `LogisticRegression` with `C = 1 / strength`, except that targets may be any weighted
    distributions: `-sum_ic targets_ic log softmax(x_i @ kernel + bias)_c`. Matrix products are in the
    precision of `x`.

    Args:
        x: Features (rows, features), scaled.
        targets: Weight of each class in each row, (rows, classes).
        strength: Of the L2 penalty.
        start: A head to start from; zeros by default.
        tolerance: Largest slope, per row, at which the search ends; less where the penalty is weak, so flat.

    Example:
        >>> head = softmax(np.array([[-1.0], [1.0]]), np.eye(2), 1.0)
        >>> bool(head.kernel[0, 1] > head.kernel[0, 0])
        True
    """
    totals = targets.sum(axis=1)

    def cost(z: np.ndarray) -> tuple[float, np.ndarray]:
        z -= z.max(axis=1, keepdims=True)
        exponentials = np.exp(z)
        sums = exponentials.sum(axis=1)
        value = totals @ np.log(sums) - np.sum(targets * z)
        return value, exponentials * (totals / sums)[:, None] - targets

    return _minimise(cost, x, targets.shape[1], strength, start, tolerance)


def logistic(
    x: np.ndarray,
    targets: np.ndarray,
    strength: float,
    *,
    start: Linear | None = None,
    tolerance: float = 1e-7,
) -> Linear:
    """Returns the head whose outputs are logistic regressions of their own, as `softmax` does for one distribution.

    Args:
        x: As for `softmax`.
        targets: In [0, 1], (rows, outputs); NaN is unknown and does not count.
        strength: As for `softmax`.
        start: As for `softmax`.
        tolerance: As for `softmax`.

    Example:
        >>> head = logistic(np.array([[-1.0], [1.0]]), np.array([[0.0], [1.0]]), 1.0)
        >>> bool(head.kernel[0, 0] > 0)
        True
    """
    known = np.isfinite(targets)
    wanted = np.where(known, targets, 0.0)

    def cost(z: np.ndarray) -> tuple[float, np.ndarray]:
        value = np.sum(known * (np.logaddexp(0.0, z) - wanted * z))
        return value, known * (special.expit(z) - wanted)

    return _minimise(cost, x, targets.shape[1], strength, start, tolerance)


def _minimise(
    cost: Callable[[np.ndarray], tuple[float, np.ndarray]],
    x: np.ndarray,
    outputs: int,
    strength: float,
    start: Linear | None,
    tolerance: float,
) -> Linear:
    """Returns the head with the least cost plus penalty; `cost` gives the sum over rows, and its slope by output."""
    rows = len(x)

    def value_and_slope(flat: np.ndarray) -> tuple[float, np.ndarray]:
        kernel, bias = _unpacked(flat, outputs)
        value, errors = cost(x @ kernel.astype(x.dtype) + bias)
        value = value + strength / 2 * np.sum(kernel**2)
        slope = x.T @ errors.astype(x.dtype) + strength * kernel
        return value / rows, np.concatenate([slope.ravel(), errors.sum(axis=0)]) / rows

    first = np.zeros((x.shape[1] + 1) * outputs)
    if start is not None:
        first = np.concatenate([start.kernel.ravel(), start.bias])
    slope = tolerance * min(1.0, max(strength, FLATTEST))
    options = {
        "maxiter": 5000,
        "maxfun": 10000,
        "gtol": slope,
        "ftol": max(1e-15, tolerance**2 / 10),
        "maxls": 50,
    }
    with _libraries_of_scipy().limit(limits=1):
        found = optimize.minimize(
            value_and_slope, first, jac=True, method="L-BFGS-B", options=options
        )
    return Linear(*_unpacked(found.x, outputs), int(found.nit), bool(found.success))


@functools.cache
def _libraries_of_scipy() -> threadpoolctl.ThreadpoolController:
    """Returns the thread pools of SciPy's own linear algebra; none where it shares NumPy's.

    L-BFGS calls it thousands of times on short vectors. Its threads would wait for each other most of the time, and
    keep all cores busy meanwhile.
    """
    found = threadpoolctl.ThreadpoolController()
    files = [each["filepath"] for each in found.info()]
    return found.select(
        filepath=[file for file in files if "scipy" in pathlib.Path(file).parts[-2]]
    )


def _unpacked(flat: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    return flat[:-classes].reshape(-1, classes), flat[-classes:]


def softmax_path(
    x: np.ndarray, targets: np.ndarray, strengths: Iterable[float]
) -> Iterator[Linear]:
    """Gives the heads of several strengths, strongest first, each started from the one before; roughly solved."""
    return _path(softmax, x, targets, strengths)


def _path(
    solve: Callable[..., Linear], x: np.ndarray, targets: np.ndarray, strengths: Iterable[float]
) -> Iterator[Linear]:
    x, head = x.astype("float32"), None
    for strength in strengths:
        head = solve(x, targets, strength, start=head, tolerance=1e-4)
        yield head


def _exact(
    solve: Callable[..., Linear], x: np.ndarray, targets: np.ndarray, strength: float
) -> Linear:
    """Returns the solution to the optimum, started from a rough one in single precision."""
    rough = solve(x.astype("float32"), targets, strength, tolerance=1e-5)
    head = solve(x, targets, strength, start=rough)
    return head._replace(iterations=rough.iterations + head.iterations)


def ridge_path(x: np.ndarray, targets: np.ndarray, strengths: Iterable[float]) -> Iterator[Linear]:
    """Gives the heads that minimise `|targets - x @ kernel - bias|**2 + strength * |kernel|**2`.

    Example:
        >>> [head] = ridge_path(np.array([[-1.0], [1.0]]), np.array([[0.0], [2.0]]), [2.0])
        >>> round(head.kernel.item(), 6), head.bias.item()  # 2 / (2 + 2)
        (0.5, 1.0)
    """
    mean, middle = x.mean(axis=0), targets.mean(axis=0)
    left, values, right = np.linalg.svd(x - mean, full_matrices=False)
    rotated = left.T @ (targets - middle)
    for strength in strengths:
        kernel = right.T @ (rotated * (values / (values**2 + strength))[:, None])
        yield Linear(kernel, middle - mean @ kernel)


def log_loss(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Returns the weighted mean of `-sum_c targets_c log softmax(outputs)_c`.

    Example:
        >>> round(log_loss(np.zeros((1, 2)), np.eye(2)[:1]), 4)  # ln 2
        0.6931
    """
    z = outputs - outputs.max(axis=1, keepdims=True)
    logarithms = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    return float(-np.sum(targets * logarithms) / targets.sum())


class Family(NamedTuple):
    """How to fit and to measure linear heads whose outputs become answers in one way, the `link` of a task."""

    score: str
    """What `score_sum` measures."""
    path: Callable[[np.ndarray, np.ndarray, Iterable[float]], Iterator[Linear]]
    """Rough heads of several strengths."""
    solve: Callable[[np.ndarray, np.ndarray, float], Linear]
    """The exact head of one strength."""
    loss_sum: Callable[[np.ndarray, np.ndarray], float]
    """Of outputs, against what a head is fitted to."""
    score_sum: Callable[[np.ndarray, np.ndarray], float]
    """Of answers before the link, against encoded targets."""


def _softmax_loss(outputs: np.ndarray, rows: np.ndarray) -> float:
    return log_loss(outputs, rows) * len(rows)


def _logistic_loss(outputs: np.ndarray, rows: np.ndarray) -> float:
    return float(np.nansum(np.logaddexp(0.0, outputs) - rows * outputs))


def _squares(outputs: np.ndarray, rows: np.ndarray) -> float:
    return float(np.sum((outputs - rows) ** 2))


def _right_classes(answers: np.ndarray, targets: np.ndarray) -> float:
    return float(np.sum(answers.argmax(axis=1) == targets))


def _right_entries(answers: np.ndarray, targets: np.ndarray) -> float:
    return float(np.sum(((answers > 0) == (targets > 0.5)) & np.isfinite(targets)))


def _distances(answers: np.ndarray, targets: np.ndarray) -> float:
    return float(np.sum(np.abs(answers - targets)))


FAMILIES = {
    "softmax": Family(
        score="accuracy",
        path=softmax_path,
        solve=functools.partial(_exact, softmax),
        loss_sum=_softmax_loss,
        score_sum=_right_classes,
    ),
    "sigmoid": Family(
        score="accuracy",
        path=functools.partial(_path, logistic),
        solve=functools.partial(_exact, logistic),
        loss_sum=_logistic_loss,
        score_sum=_right_entries,
    ),
    "identity": Family(
        score="mae",
        path=ridge_path,
        solve=lambda x, rows, strength: next(ridge_path(x, rows, [strength])),
        loss_sum=_squares,
        score_sum=_distances,
    ),
}


def folds(
    rows: int, count: int, *, seed: int, labels: Sequence[int] | np.ndarray | None = None
) -> np.ndarray:
    """Returns the fold of each row: equal in size, and in labels where there are some.

    Example:
        >>> [sorted(np.array([0, 0, 1, 1])[folds(4, 2, seed=0, labels=[0, 0, 1, 1]) == fold]) for fold in (0, 1)]
        [[np.int64(0), np.int64(1)], [np.int64(0), np.int64(1)]]
    """
    order = np.random.default_rng(seed).permutation(rows)
    if labels is not None:
        order = order[np.argsort(np.asarray(labels)[order], kind="stable")]
    found = np.empty(rows, int)
    found[order] = np.arange(rows) % count
    return found
