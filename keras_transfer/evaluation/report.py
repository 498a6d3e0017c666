"""What was measured, as a mapping, as text, as JSON and as a page."""

import math
from collections.abc import Iterator, Mapping
from typing import Any  # a report holds whatever a task measures

import numpy as np

from keras_transfer.evaluation import answers
from keras_transfer.evaluation.page import layout
from keras_transfer.pages import record

__all__ = ["Report"]


class Report(record.Record):
    """The scores of a model: a mapping that prints as a table and saves as JSON or as one self-contained page.

    With one task its scores are at the top, `report["accuracy"]`; with several they are under the task's name,
    `report["breed"]["accuracy"]`. `report["about"]` has the rest: model, data, speed, learning curves, stages of
    training, notes.

    Args:
        results: What was measured: of one task, or by task name.
        about: Everything else, as plain values.
        first_batch: A JPEG of the first training batch, for the page.

    Example:
        >>> import keras_transfer as kt
        >>> result = answers.Result(kt.tasks.Regression(), {"mae": 0.5, "support": 4}, [])
        >>> report = Report(result, {"notes": []})
        >>> report["mae"]
        0.5
    """

    def __init__(
        self,
        results: answers.Result | Mapping[str, answers.Result],
        about: Mapping,
        *,
        first_batch: bytes | None = None,
    ) -> None:
        super().__init__({**_scores(results), "about": _to_json(about)})
        self._results = results
        self._first_batch = first_batch

    def __repr__(self) -> str:
        return f"Report({', '.join(self._values)})"

    def __str__(self) -> str:
        parts = []
        for name, result, scores in self._tasks():
            lines = result.task.text(scores)
            parts.append("\n".join([name, *lines] if name else lines))
        return "\n\n".join(parts)

    def to_html(self) -> str:
        """Returns a page that needs nothing outside itself; it holds the numbers of `to_dict()` as JSON, too."""
        return layout.render(list(self._tasks()), self._values, first_batch=self._first_batch)

    def _tasks(self) -> Iterator[tuple[str, answers.Result, dict]]:
        if isinstance(self._results, answers.Result):
            yield "", self._results, self._values
        else:
            for name, result in self._results.items():
                yield name, result, self._values[name]


def _scores(results: answers.Result | Mapping[str, answers.Result]) -> dict:
    if not isinstance(results, answers.Result):
        return {name: _scores(result) for name, result in results.items()}
    mistakes = [dict(vars(mistake)) for mistake in results.mistakes]
    for fields in mistakes:
        del fields["picture"], fields["said_picture"]
    return _to_json({"kind": results.task.kind, **results.scores, "mistakes": mistakes})


def _to_json(value: Any) -> Any:
    """Returns `value` as JSON has it."""
    if isinstance(value, Mapping):
        return {str(key): _to_json(inner) for key, inner in value.items()}
    if isinstance(value, np.ndarray):
        return _to_json(value.tolist())
    if isinstance(value, list | tuple | set):
        return [_to_json(inner) for inner in value]
    if isinstance(value, np.generic):
        return _to_json(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)
