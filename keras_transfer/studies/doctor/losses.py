"""Labels that the model's loss cannot take."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from keras_transfer.core import checks, labelled
from keras_transfer.graphs import compiling
from keras_transfer.layers import marks
from keras_transfer.studies.doctor import base
from keras_transfer.training import label_fit

__all__ = ["check", "finite", "names"]


def check(case: base.Case) -> Iterator[base.Finding]:
    """Yields what the tasks, or the compiled loss, of the model refuse about the labels."""
    if case.model is None or not case.columns:
        return
    outputs = marks.outputs(case.model)
    try:
        if outputs:
            targets: Any = {name: column.targets for name, column in case.columns.items()}
            targets = targets.get("", targets)
            for name, own in marks.targets_by_task(case.model, targets).items():
                column = case.columns.get(name) or case.columns[""]
                outputs[name].task.encode(labelled.known(own, column.present))
            return
        for split, part in case.parts.items():
            targets = case.answers.get(split)
            if targets is not None:
                label_fit.check_labels(case.model, targets, part.spec[1])
            _check_shares(case, targets)
    except checks.InputError as wrong:
        what = str(wrong).removesuffix(wrong.fix).rstrip()
        yield base.Finding("error", f"the loss cannot take the labels: {what}", fix=wrong.fix)


def _check_shares(case: base.Case, targets: Any) -> None:
    """Raises an error if a binary cross-entropy is given what is no share."""
    if (
        not getattr(case.model, "compiled", False)
        or isinstance(targets, Mapping)
        or targets is None
    ):
        return
    loss = compiling.arguments(case.model).get("loss")
    name = loss if isinstance(loss, str) else type(loss).__name__
    values = np.asarray(targets)
    if "binary" not in name.lower() or values.dtype.kind not in "iufb" or not values.size:
        return
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 1:
        raise checks.error(
            f"the labels must lie in [0, 1] for the loss {name}",
            given=f"{low:g} to {high:g}",
            fix="Use a cross-entropy of classes, or a loss of numbers.",
        )


def finite(case: base.Case) -> Iterator[base.Finding]:
    """Yields labels that are not finite: each would make the whole loss so."""
    for of, column in case.kinds("number", "tags", "boxes"):
        values = np.asarray(column.targets)
        is_finite = np.isfinite(values.reshape(len(values), int(np.prod(values.shape[1:]))))
        rows = np.flatnonzero(~is_finite.all(axis=1) & column.present)
        if len(rows):
            labels = base.count(len(rows), "label is", "labels are")
            fix = "Correct them, or make them missing: weight 0, and 0 as the label."
            yield case.finding("error", f"{labels} not finite{of}", rows, fix=fix)


def names(case: base.Case) -> Iterator[base.Finding]:
    """Yields tasks of the model whose classes are not those of the data, in their order."""
    if case.model is None:
        return
    known = labelled.by_task(marks.model_classes(case.model) or {})
    for task, own in known.items():
        column = case.columns.get(task) or case.columns.get("")
        if column is None or column.names is None or list(own) == list(column.names):
            continue
        numbers = [str(number) for number in range(len(own))]
        if len(own) == len(column.names) and numbers in (list(own), list(column.names)):
            continue
        yield base.Finding(
            "error",
            f"the model's classes are not those of the data: {', '.join(own[:5])} … and "
            f"{', '.join(column.names[:5])} …",
            fix="Make the task with `Classification(data.class_names)`.",
            details={"model": list(own), "data": list(column.names)},
        )
