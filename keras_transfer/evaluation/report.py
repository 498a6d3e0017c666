"""What was measured, as a mapping, as text, as JSON and as a page."""

import html
import json
import math
import os
from collections.abc import Iterator, Mapping
from typing import Any  # a report holds whatever a task measures

import numpy as np

from keras_transfer.evaluation import answers
from keras_transfer.evaluation.page import layout
from keras_transfer.pages import document

__all__ = ["Report"]


class Report(Mapping):
    """The scores of a model: a mapping that prints as a table and saves as JSON or as one self-contained page.

    With one task its scores are at the top, `report["accuracy"]`; with several they are under the task's name,
    `report["breed"]["accuracy"]`. `report["about"]` has the rest: model, data, speed, learning curves, stages of
    training, notes.

    Args:
        results: What was measured: of one task, or by task name.
        about: Everything else, as plain values.

    Example:
        >>> import keras_transfer as kt
        >>> result = answers.Result(kt.tasks.Regression(), {"mae": 0.5, "support": 4}, [])
        >>> report = Report(result, {"notes": []})
        >>> report["mae"]
        0.5
    """

    def __init__(self, results: answers.Result | Mapping[str, answers.Result], about: Mapping):
        self._results = results
        self._values = {**_scores(results), "about": _to_json(about)}

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Report({', '.join(self._values)})"

    def __str__(self) -> str:
        parts = []
        for name, result, scores in self._tasks():
            lines = result.task.text(scores)
            parts.append("\n".join([name, *lines] if name else lines))
        return "\n\n".join(parts)

    def _repr_html_(self) -> str:
        source = html.escape(self.to_html())
        return f'<iframe srcdoc="{source}" style="width:100%;height:48rem;border:0" title="Report"></iframe>'

    def to_dict(self) -> dict:
        """Returns everything as plain dicts, lists, strings and numbers; a number that is not finite is None."""
        return json.loads(self.to_json())

    def to_json(self) -> str:
        """Returns `to_dict()` as JSON text."""
        return json.dumps(self._values, indent=1, ensure_ascii=False, allow_nan=False)

    def to_html(self) -> str:
        """Returns a page that needs nothing outside itself; it holds the numbers of `to_dict()` as JSON, too."""
        return layout.render(list(self._tasks()), self._values)

    def save(self, path: str | os.PathLike) -> None:
        """Writes the report; the file appears complete or not at all.

        Args:
            path: Ends in ".html" or ".json".

        Raises:
            InputError: If the ending is another, or the file cannot be written.
        """
        document.save(path, {".html": self.to_html, ".json": self.to_json})

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
        del fields["picture"]
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
