"""Weight soups: one network whose weights are the mean of several fine-tuned ones'."""

import dataclasses
import os
import pathlib
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_transfer.core import checks
from keras_transfer.data import adapt
from keras_transfer.graphs import paths
from keras_transfer.training import inputs, recalibration
from keras_transfer.training.run import best

__all__ = ["SoupResult", "soup"]

KINDS = ("uniform", "greedy")
BATCH_NORM = ("average", "recalibrate")

Weights = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class SoupResult:
    """What `soup` made.

    Attributes:
        model: The model that has the soup's weights now.
        weights: The soup's weights by path; `np.savez(file, **weights)` makes an ingredient of them.
        used: Which ingredients are in the soup, by position, in the order in which they came in.
        scores: The score of each ingredient, higher is better; None where there was no `score`.
        score: The soup's own score, or None.
    """

    model: keras.Model
    weights: Weights
    used: list[int]
    scores: list[float] | None
    score: float | None


def soup(
    ingredients: Sequence[object],
    *,
    model: keras.Model | None = None,
    kind: str = "uniform",
    score: object = None,
    batch_norm: str = "average",
    recalibrate: object = None,
) -> SoupResult:
    """Averages the weights of networks that were fine-tuned from one start.

    From Wortsman et al., "Model soups: averaging weights of multiple fine-tuned models improves accuracy
    without increasing inference time" (2022). A uniform soup has all ingredients. A greedy one starts with
    the best and takes in the next best as long as the score does not fall: on what it is scored by, it is
    never worse than the best ingredient. Networks whose heads were drawn at random one by one do not mix
    well: start all of them from one head (trained or solved on the frozen trunk).

    Statistics of batch normalisation are averaged like weights: exact where they were frozen, hence equal.
    Where they trained, the mean of their statistics is not what the mean network sees; "recalibrate"
    takes those, and no others, from a pass over data, averaged over its batches. Greedy soups then score
    every candidate recalibrated.

    Args:
        ingredients: Models, run folders of `kt.fine_tune`, files (`best.npz`, `*.weights.h5`), or dicts of
            arrays by path. Nothing is unpickled. One file is in memory at a time.
        model: What the soup's weights are put into; by default the first ingredient that is a model. It is
            changed in place, other models are not.
        kind: "uniform" or "greedy".
        score: A function of the model (higher is better), or what the compiled model is evaluated on: data from
            `kt.data` (its validation split), or what Keras's `fit` takes. Counts the accuracy of a single
            classification, else the loss, negated.
        batch_norm: "average" or "recalibrate".
        recalibrate: For "recalibrate": data as for `kt.training.recalibrate`, or a function that recalibrates the
            model.

    Returns:
        A `SoupResult`.

    Raises:
        InputError: If an ingredient does not fit the model, or an argument is missing. The model then has
            the weights that it had before.

    Example:
        >>> models = [keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="dense")]) for _ in range(2)]
        >>> for value, each in enumerate(models):
        ...     each.set_weights([np.full((2, 1), value), np.zeros(1)])
        >>> soup(models).weights["dense/kernel"].tolist()
        [[0.5], [0.5]]
    """
    ingredients = list(ingredients)
    checks.choice(kind, KINDS, name="kind")
    checks.choice(batch_norm, BATCH_NORM, name="batch_norm")
    if (recalibrate is None) != (batch_norm == "average"):
        given = "None" if recalibrate is None else "data, with batch_norm='average'"
        raise checks.error("`recalibrate` must be given with batch_norm='recalibrate'", given=given)
    if kind == "greedy" and score is None:
        raise checks.error(
            "`score` must be given for a greedy soup", given="None", fix="Pass data or a function."
        )
    model = _target(ingredients, model)
    before = _values(model)
    read = _reader(model, ingredients, before)
    try:
        moved = _find_differences(
            read, len(ingredients)
        )  # reads all: what does not fit is an error before any work
        put = _putter(model, recalibrate, [path for path in moved if _is_statistic(model, path)])
        taste = _taster(model, score)
        scores = None
        if taste is not None:
            positions = range(len(ingredients))
            scores = [_score_weights(put, taste, read(position)) for position in positions]
            if kind == "greedy":
                return _greedy(model, read, scores, put, taste)
        mean = _mean(read, range(len(ingredients)))
        put(mean)
        final = None if taste is None else float(taste(model))
        return SoupResult(model, _values(model), list(range(len(ingredients))), scores, final)
    except BaseException:
        _assign(model, before)
        raise


def _greedy(
    model: keras.Model, read: Callable, scores: list[float], put: Callable, taste: Callable
) -> SoupResult:
    order = sorted(
        range(len(scores)),
        key=lambda position: -scores[position] if np.isfinite(scores[position]) else np.inf,
    )
    score = scores[order[0]]
    if not np.isfinite(score):
        raise checks.error("`score` must be a number for one ingredient at least", given=scores)
    put(read(order[0]))
    used, kept = order[:1], _values(model)
    for position in order[1:]:
        candidate = _score_weights(put, taste, _mean(read, [*used, position]))
        if candidate >= score:
            used, score, kept = [*used, position], candidate, _values(model)
    _assign(model, kept)
    return SoupResult(model, kept, used, scores, score)


def _score_weights(put: Callable, taste: Callable, weights: Weights) -> float:
    return float(taste(put(weights)))


def _target(ingredients: list, model: keras.Model | None) -> keras.Model:
    if not ingredients:
        raise checks.error("`ingredients` must hold something", given="none")
    target = model or next((each for each in ingredients if isinstance(each, keras.Model)), None)
    if target is None:
        raise checks.error("`model` must be given where no ingredient is a model", given="None")
    return target


def _values(model: keras.Model) -> Weights:
    return {
        path: keras.ops.convert_to_numpy(variable).copy()
        for path, variable in paths.variables(model).items()
    }


def _assign(model: keras.Model, weights: Weights) -> None:
    for path, variable in paths.variables(model).items():
        variable.assign(weights[path])


def _reader(model: keras.Model, ingredients: list, before: Weights) -> Callable[[int], Weights]:
    """Returns a function from a position to the weights of that ingredient; those of `model` are its `before`."""
    expected = {path: tuple(variable.shape) for path, variable in paths.variables(model).items()}

    def read(position: int) -> Weights:
        each = ingredients[position]
        weights = before if each is model else _read(model, each, position)
        if set(weights) != set(expected):
            different = sorted(set(weights) ^ set(expected))[0]
            raise _mismatch(position, f"{different!r} in one of them only")
        for path, shape in expected.items():
            if np.shape(weights[path]) != shape:
                given = f"{path!r} of shape {np.shape(weights[path])}, not {shape}"
                raise _mismatch(position, given)
        return {path: np.asarray(weights[path]) for path in expected}

    return read


def _mismatch(position: int, given: str) -> checks.InputError:
    return checks.error(f"ingredient {position} must have the weights of the model", given=given)


def _read(model: keras.Model, ingredient: object, position: int) -> Mapping[str, Any]:
    if isinstance(ingredient, keras.Model):
        return _values(ingredient)
    if isinstance(ingredient, Mapping):
        return ingredient
    expected = "an ingredient must be a model, a dict of arrays, a run folder, a .npz or a .weights.h5 file"
    if not isinstance(ingredient, str | os.PathLike):
        raise checks.error(expected, given=f"{type(ingredient).__name__} at position {position}")
    file = pathlib.Path(ingredient).expanduser()
    file = file / best.FILE if file.is_dir() else file
    if not file.is_file() or not file.name.endswith((".npz", ".weights.h5")):
        raise checks.error(expected, given=repr(str(ingredient)))
    try:
        if file.suffix == ".npz":
            with np.load(file, allow_pickle=False) as saved:
                return dict(saved)
        model.load_weights(file)
    except (ValueError, OSError, KeyError, zipfile.BadZipFile) as failed:
        raise _mismatch(
            position, f"{str(ingredient)!r} ({str(failed).splitlines()[0]})"
        ) from failed
    return _values(model)


def _mean(read: Callable[[int], Weights], positions: Iterable[int]) -> Weights:
    """The mean of floating-point weights, summed in double precision; others are those of the first ingredient."""
    positions = list(positions)
    first = read(positions[0])
    floats = [path for path, value in first.items() if np.issubdtype(value.dtype, np.floating)]
    total = {path: first[path].astype("float64") for path in floats}
    for position in positions[1:]:
        weights = read(position)
        for path in floats:
            total[path] += weights[path]
    return {**first, **{path: total[path] / len(positions) for path in floats}}


def _find_differences(read: Callable[[int], Weights], count: int) -> list[str]:
    """Returns the paths at which the ingredients differ."""
    first, different = read(0), set()
    for position in range(1, count):
        different |= {
            path for path, value in read(position).items() if not np.array_equal(value, first[path])
        }
    return [path for path in first if path in different]


def _taster(model: keras.Model, score: object) -> Callable[[keras.Model], float] | None:
    """Returns a function from a model to its score."""
    if score is None or (callable(score) and not isinstance(score, tf.data.Dataset)):
        return score
    if not getattr(model, "compiled", False):
        raise checks.error(
            "`model` must be compiled to be evaluated on data",
            given=f"{model.name!r}, which is not",
        )
    batches = adapt.split(score, name="score").first("validation")
    if batches is None:
        raise checks.error("`score` must have validation data", given="data without")
    data = inputs.for_tasks(model, batches.check("score").dataset)

    def taste(model: keras.Model) -> float:
        results = model.evaluate(data, verbose=0, return_dict=True)
        return results.get("accuracy", -results["loss"])

    return taste


def _is_statistic(model: keras.Model, path: str) -> bool:
    layer = paths.leaves(model)[path.rpartition("/")[0]]
    return isinstance(layer, keras.layers.BatchNormalization) and path.endswith(
        ("moving_mean", "moving_variance")
    )


def _putter(
    model: keras.Model, recalibrate: object, statistics: list[str]
) -> Callable[[Weights], keras.Model]:
    """Returns a function that puts weights into the model, recalibrates what is to be, and returns the model."""
    norms = {path.rpartition("/")[0] for path in statistics}

    def put(weights: Weights) -> keras.Model:
        _assign(model, weights)
        if callable(recalibrate) and not isinstance(recalibrate, tf.data.Dataset):
            recalibrate(model)
        elif recalibrate is not None and norms:
            recalibration.recalibrate(model, recalibrate, norms=norms)
        return model

    return put
