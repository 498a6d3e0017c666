"""Heads that are solved instead of trained: the best linear head on frozen features."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_transfer import layers
from keras_transfer.core import checks, labelled
from keras_transfer.data import splits
from keras_transfer.graphs import nodes
from keras_transfer.layers import marks
from keras_transfer.training import inputs
from keras_transfer.training.methods import head_features, linear_models

__all__ = ["STRENGTHS", "Head", "find_solvable", "heads", "solve_head"]

STRENGTHS = tuple(10.0 ** (power / 2) for power in range(8, -6, -1))  # 1e4 to 3e-3


def solve_head(
    model: keras.Model,
    train_features: object,
    train_targets: object = None,
    val_features: object = None,
    val_targets: object = None,
    *,
    weights: object = None,
    val_weights: object = None,
    strengths: Sequence[float] | Mapping[str, float] = STRENGTHS,
    folds: int | None = None,
    seed: int = 0,
    groups: object = None,
    label_smoothing: float | None = None,
) -> dict:
    """Puts the best linear head on frozen features into `model`.

    Give the data, and the trunk runs over its images once; or give features at the end of the trunk
    (`kt.models.representation(model)`): maps, which the head pools, or vectors that are pooled already. A
    classification gets softmax regression with the task's class weights
    and label smoothing (shifted for its `LogitAdjusted` loss; a focal or foreign loss counts as cross-entropy), tags
    get a logistic regression each, a regression gets ridge regression. The strength of the L2 penalty is the one with
    the lowest loss on the validation data, in cross-validation where there are none, or on both together where `folds`
    is given; the head is then solved on the training data. Its kernel and bias are in the features' own scale: nothing
    is added to the model. A head with hidden layers has no such solution: an error, or with several tasks a note.

    The unit of a regression is taken from the training targets where it is not known yet, as `kt.fine_tune` does.

    Args:
        model: Of `kt.build_model`. The last dense layers of its heads are changed in place.
        train_features: Data as `kt.fine_tune` takes it, validation included; or features, an array or a dict of pooled
            features by task.
        train_targets: For features only: an array, or a dict by task where there are several.
        val_features: As `train_features`.
        val_targets: As `train_targets`.
        weights: Of the training targets: 0 for a missing label, whose row is left out, else 1; an array for all tasks,
            or a dict by task.
        val_weights: As `weights`, but all others than 0 count as 1. A task without a label there is cross-validated.
        strengths: Candidates; those of softmax regression are scikit-learn's 1 / C, for centred features with
            a mean variance of 1. A dict has one for each task, which is then not chosen.
        folds: Of the cross-validation, in which all training data count besides the validation data. None is 5, fewer
            for less than 10 rows, where there are no validation data, and no cross-validation where there are.
        seed: Of the folds.
        groups: A group for each training example, such as its video: none is in two folds, of which there may then be
            fewer. For features only: data know their groups.
        label_smoothing: Of the training targets; None for that of the task.

    Returns:
        What was found: `strength`, `losses` by strength, `chosen_by`, `accuracy` and, on what chose, `val_accuracy` (or
        `mae` and `val_mae`), `seconds`; by task where there are several.

    Raises:
        InputError: If features, targets and heads do not fit each other.

    Example:
        >>> import keras_transfer as kt
        >>> model = kt.build_model(kt.backbone("tiny"), kt.tasks.Classification(["dark", "light"]))
        >>> shades = np.repeat([0, 200], 5) + np.arange(10)
        >>> images = shades[:, None, None, None] * np.ones((32, 32, 3))
        >>> solve_head(model, (images, np.repeat([0, 1], 5)))["accuracy"]
        1.0
    """
    given = strengths.values() if isinstance(strengths, Mapping) else strengths
    candidates = sorted(
        {checks.number(each, name="strengths", above=0) for each in given}, reverse=True
    )
    if folds is not None:
        checks.integer(folds, name="folds", minimum=2)
    if not candidates:
        raise checks.error("`strengths` must hold a number", given="none")
    if (val_features is None) != (val_targets is None):
        raise checks.error(
            "`val_features` and `val_targets` must be given together", given="one of them"
        )
    linear, skipped = find_solvable(model)
    if isinstance(strengths, Mapping) and set(linear) - set(strengths):
        raise checks.error(
            "`strengths` must have a number for each task", given=", ".join(strengths) or "none"
        )
    if train_targets is None:
        if val_features is not None or weights is not None or val_weights is not None:
            expected = "`train_targets` must be given with validation features or weights"
            fix = "Data hold their own validation part and weights."
            raise checks.error(expected, given="data", fix=fix)
        data = inputs.check(model, inputs.inputs(train_features))
        pooled_at = {name: head.below for name, head in linear.items()}
        train, validation = head_features.read(model, data, pooled_at)
        train_features, train_targets, weights = train
        groups = head_features.groups_of(data)
        val_features, val_targets, val_weights = validation
    if weights is not None and not labelled.are_masks(weights):
        raise checks.error(
            "`weights` must be 0 or 1",
            given="others",
            fix="Train the head instead of solving for it.",
        )
    targets = marks.targets_by_task(model, train_targets)
    others = None if val_targets is None else marks.targets_by_task(model, val_targets)
    facts: dict[str, Any] = {}
    for name, output in marks.outputs(model).items():
        if name in skipped:
            facts[name] = {
                "skipped": checks.note(f"the head of {name!r} is not fitted: {skipped[name]}")
            }
            continue
        own = labelled.of_task(weights, name)
        raw = labelled.known(targets[name], own)
        marks.check_labelled(name, raw)
        encoded = output.task.encode(targets[name])
        rows = _rows(linear[name], name, train_features, encoded, own, "train_features")
        held_out = None
        if others is not None:
            own = labelled.of_task(val_weights, name)
            if own is None or labelled.rows(own).any():
                encoded = output.task.encode(others[name])
                held_out = _rows(linear[name], name, val_features, encoded, own, "val_features")
        started = time.perf_counter()
        pairs: list[tuple[_Rows, _Rows]] = []
        if isinstance(strengths, Mapping):
            tried, chosen_by = [strengths[name]], "user"
        else:
            tried = candidates
            of_rows = _groups_of_rows(groups, targets[name], labelled.of_task(weights, name))
            pairs, chosen_by = _splits(rows, held_out, folds, seed, of_rows)
        head, facts[name] = _fit(output, raw, rows, pairs, tried, smoothing=label_smoothing)
        facts[name]["chosen_by"] = chosen_by
        linear[name].dense.kernel.assign(head.kernel)
        linear[name].dense.bias.assign(head.bias)
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


def find_solvable(model: keras.Model) -> tuple[dict[str, Head], dict[str, str]]:
    """Returns the heads that can be solved for, and why the others cannot; an error where none can."""
    linear, skipped = heads(model)
    if not linear:
        name, reason = next(iter(skipped.items()))
        raise checks.error(
            "a head must be one dense layer to be solved", given=f"{name!r}: {reason}"
        )
    return linear, skipped


def heads(model: keras.Model) -> tuple[dict[str, Head], dict[str, str]]:
    """Returns the heads that can be solved for, and why the others cannot."""
    nodes.check_functional(model)
    outputs = marks.outputs(model)
    end = marks.representation(model)
    if not outputs or end is None:
        raise checks.error(
            "`model` must have tasks on a trunk", given=repr(model.name), fix="Use kt.build_model."
        )
    linear: dict[str, Head] = {}
    skipped: dict[str, str] = {}
    order = nodes.nodes(model)
    maker = {id(tensor): node for node in order for tensor in node.outputs}
    for name, output in outputs.items():
        (logits,) = [node.inputs[0] for node in order if node.operation is output]
        mark = marks.representation(model, below=logits) or end
        trunk = nodes.ancestors(order, [mark.output])
        last = maker[id(logits)]
        between = nodes.ancestors(order, last.inputs) - trunk
        if output.task.link is None:
            skipped[name] = f"{type(output.task).__name__} has no `link` that can be solved for"
        elif type(last.operation) is not keras.layers.Dense or not last.operation.use_bias:
            skipped[name] = "it does not end in a dense layer with a bias"
        elif any(_has_weights(order[position].operation) for position in between):
            skipped[name] = "it has hidden layers"
        else:
            below = maker[id(last.inputs[0])].operation.name
            pool = keras.Model(mark.output, last.inputs[0])
            linear[name] = Head(last.operation, below, pool)
    return linear, skipped


def _has_weights(operation: keras.Operation) -> bool:
    """Whether an operation has weights that matter for what it gives."""
    return bool(getattr(operation, "weights", None)) and not isinstance(operation, layers.Balance)


def _rows(
    head: Head, name: str, features: object, targets: np.ndarray, weights: Any, argument: str
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


def _groups_of_rows(groups: Any, targets: np.ndarray, weights: Any) -> np.ndarray | None:
    """Returns the groups of the rows that have a label; None where no two rows share one."""
    if groups is None:
        return None
    groups = np.asarray(groups)
    if weights is not None and len(groups) == len(targets):
        groups = groups[labelled.rows(weights)]
    return splits.shared_groups(groups, len(labelled.known(targets, weights)))


def _splits(
    train: _Rows,
    held_out: _Rows | None,
    folds: int | None,
    seed: int,
    groups: np.ndarray | None,
) -> tuple[list[tuple[_Rows, _Rows]], str]:
    """Returns pairs to fit and to measure on, and how they are called: the two given, and the others and each fold."""
    pairs = [] if held_out is None else [(train, held_out)]
    if pairs and folds is None:
        return pairs, "validation"

    folds = folds or max(2, min(5, len(train.features) // 2))
    if len(train.features) < 2 * folds:
        raise checks.error(
            f"there must be {2 * folds} rows for {folds} folds", given=len(train.features)
        )
    labels = train.targets if train.targets.dtype.kind == "i" else None
    if groups is None:
        fold_of = linear_models.folds(len(train.features), folds, seed=seed, labels=labels)
    else:
        if labels is None:
            labels = np.zeros(len(train.features), int)
        fold_of = splits.fold_groups(labels, groups, folds, seed=seed)
        folds = len(np.unique(fold_of))
    for fold in np.unique(fold_of):
        inside = fold_of == fold
        others = _Rows(train.features[~inside], train.targets[~inside])
        pairs.append((others, _Rows(train.features[inside], train.targets[inside])))
    name = f"{folds} folds"
    return pairs, name if held_out is None else f"validation and {name}"


def _fit(
    output: layers.TaskOutput,
    raw: object,
    train: _Rows,
    pairs: list[tuple[_Rows, _Rows]],
    strengths: list[float],
    *,
    smoothing: float | None,
) -> tuple[linear_models.Linear, dict]:
    """Returns the head with the best strength of the penalty, and what was measured.

    Args:
        output: Of the task; its unit is taken from the targets.
        raw: All labelled training targets, as the user gave them.
        train: The labelled training examples.
        pairs: Pairs of examples to fit and to measure on; none where there is one candidate.
        strengths: Candidates, strongest first.
        smoothing: Of the labels; None for that of the task's loss.
    """
    task = output.task
    loss = task.loss(raw)
    family = linear_models.FAMILIES[task.link]
    unit, offset = 1.0, 0.0
    if task.has_unit:
        output.take_unit(raw)
        unit, offset = (
            keras.ops.convert_to_numpy(part).astype("float64")
            for part in (output.scale, output.offset)
        )
    # A loss may add something to the logits: the answer's bias is the solution's without it.
    shift = task.logit_shift(loss)

    def rows(targets: np.ndarray, smoothing: float | None) -> np.ndarray:
        return (task.linear_rows(targets, loss, smoothing=smoothing) - offset) / unit

    def score(outputs: np.ndarray, targets: np.ndarray) -> float:
        return family.score_sum((outputs - shift) * unit + offset, targets)

    measured, scores, entries = np.zeros(len(strengths)), np.zeros(len(strengths)), 0
    for fit, rest in pairs:
        scale = linear_models.scaling(fit.features)
        x, y = scale(fit.features), scale(rest.features)
        wanted = rows(rest.targets, 0.0)
        entries += np.isfinite(rest.targets).sum()
        for at, head in enumerate(family.path(x, rows(fit.targets, smoothing), strengths)):
            outputs = head(y)
            measured[at] += family.loss_sum(outputs, wanted)
            scores[at] += score(outputs, rest.targets)

    best = int(np.argmin(measured))  # of equals the strongest
    facts: dict[str, Any] = {"strength": strengths[best], "chosen_by": ""}
    if pairs:
        facts["losses"] = {
            strength: round(float(value), 6)
            for strength, value in zip(strengths, measured / entries, strict=True)
        }
        facts[f"val_{family.score}"] = round(float(scores[best] / entries), 6)

    scale = linear_models.scaling(train.features)
    head = family.solve(scale(train.features), rows(train.targets, smoothing), strengths[best])
    if head.iterations:
        facts |= {"iterations": head.iterations, "converged": head.converged}
    head = scale.fold(head)
    share = score(head(train.features), train.targets) / np.isfinite(train.targets).sum()
    facts[family.score] = round(float(share), 6)
    return head._replace(bias=head.bias - shift), facts
