"""What was measured, as a mapping, as text, as JSON and as a page."""

import math
import os
from collections.abc import Iterator, Mapping
from typing import Any  # a report holds whatever a task measures

import numpy as np

from keras_transfer.evaluation import advice, answers, card, run_pictures
from keras_transfer.evaluation.page import layout
from keras_transfer.pages import document, record
from keras_transfer.storage import files

__all__ = ["Report"]


class Report(record.Record):
    """The scores of a model: a mapping that prints as a table and saves as JSON or as one self-contained page.

    With one task its scores are at the top, `report["accuracy"]`; with several they are under the task's name,
    `report["breed"]["accuracy"]`. `report["about"]` has the rest: model, data, speed, learning curves, stages of
    training, notes, and in `summary` the sentences that the page begins with.

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
        named = [(name, result.task, scores) for name, result, scores in self._tasks()]
        self._values["about"]["summary"] = advice.summarise(named, self._values["about"])
        self._first_batch = first_batch
        self._further: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"Report({', '.join(self._values)})"

    def __str__(self) -> str:
        parts = []
        for name, result, scores in self._tasks():
            lines = result.task.text(scores)
            parts.append("\n".join([name, *lines] if name else lines))
        further = self._values["about"]["summary"]["next"]
        if further:
            listed = [f"- {sentence}" for sentence in further]
            parts.append("\n".join(["What to do next:", *listed]))
        return "\n\n".join(parts)

    @property
    def mistake_images(self) -> dict[str, Mapping[int, np.ndarray]]:
        """The images of mistakes by task ("" for a single one) and number, the worst first; empty without `explain`."""
        named = {name: result.mistake_images for name, result, _ in self._tasks()}
        return {name: images for name, images in named.items() if images}

    def add(self, title: str, part: str) -> None:
        """Adds a part to the page, after those of the tasks.

        Args:
            title: Its heading.
            part: HTML, such as that of `RepresentationMap.part()` and `Neighbours.part()`.
        """
        self._further[title] = part

    def to_html(self) -> str:
        """Returns a page that needs nothing outside itself; it holds the numbers of `to_dict()` as JSON, too."""
        return layout.render(
            list(self._tasks()),
            self._values,
            first_batch=self._first_batch,
            further=self._further,
        )

    def to_markdown(self) -> str:
        """Returns a model card: what the model is for, data, numbers, limits, and how to load it."""
        return card.render(list(self._tasks()), self._values["about"])

    def save(self, path: str | os.PathLike) -> None:
        """Writes everything; the file appears complete or not at all.

        Args:
            path: Ends in ".html" (one page), ".json", or ".md" (a model card).

        Raises:
            InputError: If the ending is another, or the file cannot be written.
        """
        writers = {".html": self.to_html, ".json": self.to_json, ".md": self.to_markdown}
        document.save(path, writers)

    def save_pictures(self, folder: str | os.PathLike) -> list[str]:
        """Writes curves, labels, mistakes and what the tasks draw (confusion ...) as PNG files; returns their names.

        Args:
            folder: Where to; it is made if needed.
        """
        root = files.check_writable(folder, argument="folder")
        return run_pictures.save(list(self._tasks()), self._values["about"], root)

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
        for name in [name for name in fields if name.endswith("picture")]:
            del fields[name]
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
