"""Heads that are solved instead of trained: the best linear head on frozen features."""

import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import keras
import numpy as np

from keras_transfer import layers, losses
from keras_transfer.core import checks, labelled
from keras_transfer.graphs import nodes
from keras_transfer.layers import marks
from keras_transfer.training.methods import linear_models

__all__ = ["STRENGTHS", "Head", "heads", "solvable", "solve_head"]

STRENGTHS = tuple(10.0 ** (power / 2) for power in range(8, -6, -1))  # 1e4 to 3e-3


def solve_head(
    model: keras.Model,
    train_features: object,
    train_targets: object,
    val_features: object = None,
    val_targets: object = None,
    *,
    weights: object = None,
    val_weights: object = None,
    strengths: Sequence[float] = STRENGTHS,
    folds: int = 5,
    seed: int = 0,
    label_smoothing: float | None = None,
) -> dict:
    """Puts the best linear head on frozen features into `model`.

    The features are those at the end of the trunk (`kt.models.representation(model)`): maps, which the head
    pools, or vectors that are pooled already. A classification gets softmax regression with the task's
    class weights and label smoothing (shifted for its `LogitAdjusted` loss; a focal or foreign loss counts
    as cross-entropy), a regression gets ridge regression. The strength of the L2 penalty is the one with
    the lowest loss on the validation data, or in cross-validation where there are none; the head is then
    solved on the training data. Its kernel and bias are in the features' own scale: nothing is added
    to the model. A head with hidden layers has no such solution: an error, or with several tasks a note.

    The unit of a regression is taken from the training targets where it is not known yet, as `kt.fine_tune` does.

    Args:
        model: Of `kt.build_model`. The last dense layers of its heads are changed in place.
        train_features: An array, or a dict of pooled features by task.
        train_targets: An array, or a dict by task where there are several.
        val_features: As `train_features`.
        val_targets: As `train_targets`.
        weights: Of the training targets: 0 for a missing label, whose row is left out, else 1; an array for all tasks,
            or a dict by task.
        val_weights: As `weights`, but all others than 0 count as 1. A task without a label there is cross-validated.
        strengths: Candidates; those of softmax regression are scikit-learn's 1 / C, for centred features with
            a mean variance of 1.
        folds: Of the cross-validation.
        seed: Of the folds.
        label_smoothing: Of the training targets; None for that of the task.

    Returns:
        What was found: `strength`, `losses` by strength, `chosen_by`, `accuracy` and `val_accuracy` (or
        `mae` and `val_mae`), `seconds`; by task where there are several.

    Raises:
        InputError: If features, targets and heads do not fit each other.

    Example:
        >>> import keras_transfer as kt
        >>> model = kt.build_model(kt.backbone("tiny"), kt.tasks.Classification(["dark", "light"]))
        >>> shades = np.repeat([0, 200], 5) + np.arange(10)
        >>> images = shades[:, None, None, None] * np.ones((32, 32, 3))
        >>> trunk = keras.Model(model.input, kt.models.representation(model).output)
        >>> solve_head(model, trunk.predict(images, verbose=0), np.repeat([0, 1], 5))["accuracy"]
        1.0
    """
    strengths = sorted(
        {checks.number(each, name="strengths", above=0) for each in strengths}, reverse=True
    )
    checks.integer(folds, name="folds", minimum=2)
    if not strengths:
        raise checks.error("`strengths` must hold a number", given="none")
    if (val_features is None) != (val_targets is None):
        raise checks.error(
            "`val_features` and `val_targets` must be given together", given="one of them"
        )
    if weights is not None and not labelled.are_masks(weights):
        raise checks.error(
            "`weights` must be 0 or 1",
            given="others",
            fix="Train the head instead of solving for it.",
        )
    found, skipped = solvable(model)
    targets = marks.targets_by_task(model, train_targets)
    others = None if val_targets is None else marks.targets_by_task(model, val_targets)
    facts = {}
    for name, output in marks.outputs(model).items():
        if name in skipped:
            facts[name] = {
                "skipped": checks.note(f"the head of {name!r} is not solved: {skipped[name]}")
            }
            continue
        own = labelled.of_task(weights, name)
        raw = labelled.known(targets[name], own)
        marks.check_labelled(name, raw)
        train = _rows(
            found[name],
            name,
            train_features,
            output.task.encode(targets[name]),
            own,
            "train_features",
        )
        held_out = None
        if others is not None:
            own = labelled.of_task(val_weights, name)
            if own is None or labelled.rows(own).any():
                encoded = output.task.encode(others[name])
                held_out = _rows(found[name], name, val_features, encoded, own, "val_features")
        started = time.perf_counter()
        if output.task.kind == "classification":
            options = {"smoothing": label_smoothing}
            head, facts[name] = _classify(
                output, raw, train, held_out, strengths, folds, seed, **options
            )
        else:
            head, facts[name] = _regress(output, raw, train, held_out, strengths, folds, seed)
        found[name].dense.kernel.assign(head.kernel)
        found[name].dense.bias.assign(head.bias)
        facts[name]["seconds"] = round(time.perf_counter() - started, 3)
    return facts if isinstance(model.output, Mapping) else facts[next(iter(facts))]


class Head(NamedTuple):
    """A head that can be solved for."""

    dense: keras.layers.Dense
    below: str
    """The path of the layer below, whose output enters it."""
    pool: keras.Model
    """From the trunk's end to there."""


class _Rows(NamedTuple):
    features: np.ndarray
    targets: np.ndarray


def solvable(model: keras.Model) -> tuple[dict[str, Head], dict[str, str]]:
    """Returns the heads that can be solved for, and why the others cannot; an error where none can."""
    found, skipped = heads(model)
    if not found:
        name, reason = next(iter(skipped.items()))
        raise checks.error(
            "a head must be one dense layer to be solved", given=f"{name!r}: {reason}"
        )
    return found, skipped


def heads(model: keras.Model) -> tuple[dict[str, Head], dict[str, str]]:
    """Returns the heads that can be solved for, and why the others cannot."""
    nodes.check_functional(model)
    found = marks.outputs(model)
    if not found or marks.representation(model) is None:
        raise checks.error(
            "`model` must have tasks on a trunk", given=repr(model.name), fix="Use kt.build_model."
        )
    linear, skipped = {}, {}
    order = nodes.nodes(model)
    for name, output in found.items():
        (asked,) = [node.inputs[0] for node in order if node.operation is output]
        mark = marks.representation(model, below=asked)
        trunk = nodes.ancestors(order, [mark.output])
        last = next(node for node in order if any(tensor is asked for tensor in node.outputs))
        between = nodes.ancestors(order, last.inputs) - trunk
        if output.task.kind not in ("classification", "regression"):
            skipped[name] = f"only classification and regression can be, not {output.task.kind}"
        elif type(last.operation) is not keras.layers.Dense or not last.operation.use_bias:
            skipped[name] = "it does not end in a dense layer with a bias"
        elif any(_has_weights(order[position].operation) for position in between):
            skipped[name] = "it has hidden layers"
        else:
            below = next(
                node for node in order if any(tensor is last.inputs[0] for tensor in node.outputs)
            )
            pool = keras.Model(mark.output, last.inputs[0])
            linear[name] = Head(last.operation, below.operation.name, pool)
    return linear, skipped


def _has_weights(operation: keras.Operation) -> bool:
    """Whether an operation has weights that matter for what it gives."""
    return bool(getattr(operation, "weights", None)) and not isinstance(operation, layers.Balance)


def _rows(
    head: Head, name: str, features: object, targets: np.ndarray, weights: object, argument: str
) -> _Rows:
    """Returns pooled features and targets of the rows that have a label, checked."""
    if isinstance(features, Mapping):
        if name not in features:
            raise checks.error(
                f"`{argument}` must have features for {name!r}", given=", ".join(map(str, features))
            )
        features = features[name]
    values = np.asarray(features)
    if weights is not None and len(values) == len(targets):
        values, targets = values[labelled.rows(weights)], labelled.known(targets, weights)
    width = head.dense.kernel.shape[0]
    if values.ndim > 2 and head.pool.input.shape[1:] == values.shape[1:]:
        values = head.pool.predict(values, verbose=0) if len(values) else values
    if values.ndim != 2 or values.shape[1] != width or not len(values):
        expected = f"`{argument}` must have shape {tuple(head.pool.input.shape)}, or be pooled to {width} values"
        raise checks.error(expected, given=values.shape)
    if len(values) != len(targets):
        raise checks.error(
            f"`{argument}` must have a row for each target", given=f"{len(values)}, {len(targets)}"
        )
    if not np.isfinite(values).all():
        at = int(np.argmax(~np.isfinite(values).all(axis=1)))
        raise checks.error(f"`{argument}` must be finite", given=f"row {at}, which is not")
    return _Rows(values.astype("float64"), targets)


def _splits(
    train: _Rows, held_out: _Rows | None, folds: int, seed: int, labels: object
) -> list[tuple[_Rows, _Rows]]:
    """What to fit on and what to measure on: the two given, or each fold against the others."""
    if held_out is not None:
        return [(train, held_out)]
    if len(train.features) < 2 * folds:
        raise checks.error(
            f"there must be {2 * folds} rows for {folds} folds", given=len(train.features)
        )
    at = linear_models.folds(len(train.features), folds, seed=seed, labels=labels)
    parts = [(at != fold, at == fold) for fold in range(folds)]
    return [
        tuple(_Rows(train.features[rows], train.targets[rows]) for rows in pair) for pair in parts
    ]


def _chosen(
    strengths: list[float], measured: np.ndarray, held_out: _Rows | None, folds: int
) -> tuple[float, dict]:
    """Returns the strength with the lowest loss, of equals the strongest, and the facts of the choice."""
    best = strengths[int(np.argmin(measured))]
    facts = {
        "strength": best,
        "losses": {
            each: round(float(loss), 6) for each, loss in zip(strengths, measured, strict=True)
        },
        "chosen_by": f"{folds} folds" if held_out is None else "validation",
    }
    return best, facts


def _classify(
    output: layers.TaskOutput,
    raw: object,
    train: _Rows,
    held_out: _Rows | None,
    strengths: list[float],
    folds: int,
    seed: int,
    *,
    smoothing: float | None,
) -> tuple[linear_models.Linear, dict]:
    """Softmax regression."""
    loss = output.task.loss(raw)
    own = loss.get_config()
    smoothing = own.get("label_smoothing", 0.0) if smoothing is None else smoothing
    weights = own.get("class_weights")
    classes = output.task.units
    shift = np.zeros(classes)
    if isinstance(loss, losses.LogitAdjusted):
        # Its logits in training are the answer's plus tau log(prior): the answer's bias is the solution's less these.
        shift = loss.tau * np.log(np.array(loss.priors) / sum(loss.priors))
    weights = np.ones(classes) if weights is None else np.array(weights)

    def wanted(labels: np.ndarray, smoothing: float) -> np.ndarray:
        rows = np.eye(classes)[labels] * (1 - smoothing) + smoothing / classes
        return rows * weights[labels][:, None]

    measured = np.zeros(len(strengths))
    hits = np.zeros(len(strengths))
    for fit, rest in _splits(train, held_out, folds, seed, train.targets):
        scale = linear_models.scaling(fit.features)
        x, y = scale(fit.features), scale(rest.features)
        targets = wanted(rest.targets, 0.0)
        for at, head in enumerate(
            linear_models.softmax_path(x, wanted(fit.targets, smoothing), strengths)
        ):
            outputs = head(y)
            measured[at] += linear_models.log_loss(outputs, targets) * len(y)
            hits[at] += np.sum((outputs - shift).argmax(axis=1) == rest.targets)
    rows = len(train.targets) if held_out is None else len(held_out.targets)
    strength, facts = _chosen(strengths, measured / rows, held_out, folds)
    scale = linear_models.scaling(train.features)
    x, targets = scale(train.features), wanted(train.targets, smoothing)
    rough = linear_models.softmax(x.astype("float32"), targets, strength, tolerance=1e-5)
    head = linear_models.softmax(x, targets, strength, start=rough)
    facts["iterations"], facts["converged"] = rough.iterations + head.iterations, head.converged
    facts["val_accuracy"] = round(float(hits[strengths.index(strength)] / rows), 6)
    head = scale.folded(head)
    head = head._replace(bias=head.bias - shift)
    facts["accuracy"] = round(
        float(np.mean(head(train.features).argmax(axis=1) == train.targets)), 6
    )
    return head, facts


def _regress(
    output: layers.TaskOutput,
    raw: object,
    train: _Rows,
    held_out: _Rows | None,
    strengths: list[float],
    folds: int,
    seed: int,
) -> tuple[linear_models.Linear, dict]:
    """Ridge regression, in the unit that the head's layer is turned back from."""
    output.take_unit(raw)
    unit, offset = (
        keras.ops.convert_to_numpy(part).astype("float64") for part in (output.scale, output.offset)
    )

    def inside(rows: _Rows) -> np.ndarray:
        return (rows.targets.astype("float64") - offset) / unit

    measured, errors = np.zeros(len(strengths)), np.zeros(len(strengths))
    for fit, rest in _splits(train, held_out, folds, seed, None):
        scale = linear_models.scaling(fit.features)
        y = scale(rest.features)
        for at, head in enumerate(
            linear_models.ridge_path(scale(fit.features), inside(fit), strengths)
        ):
            error = head(y) - inside(rest)
            measured[at] += np.sum(error**2)
            errors[at] += np.sum(np.abs(error * unit))
    entries = (train if held_out is None else held_out).targets.size
    strength, facts = _chosen(strengths, measured / entries, held_out, folds)
    scale = linear_models.scaling(train.features)
    (head,) = linear_models.ridge_path(scale(train.features), inside(train), [strength])
    head = scale.folded(head)
    facts["val_mae"] = round(float(errors[strengths.index(strength)] / entries), 6)
    facts["mae"] = round(float(np.mean(np.abs((head(train.features) - inside(train)) * unit))), 6)
    return head, facts
