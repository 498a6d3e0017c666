"""The targets and outputs of one task, collected batch by batch, and the examples that a report shows of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np

from keras_transfer import tasks
from keras_transfer.core import checks, lookup, one_hot
from keras_transfer.evaluation import examples

__all__ = ["Answers", "Result"]

UNSURE = 8  # examples whose answers are least certain
SAMPLE = 8  # examples, drawn at random, that are shown whether they are right or wrong


@dataclass(frozen=True)
class Result:
    """What was measured of one task; `targets` and `outputs` are kept only if the task draws them."""

    task: tasks.Task
    scores: dict
    mistakes: Sequence[examples.Example]
    targets: np.ndarray | None = None
    outputs: np.ndarray | None = None
    sample: Sequence[examples.Example] = ()
    unsure: Sequence[examples.Example] = ()
    mistake_images: Mapping[int, np.ndarray] = field(default_factory=dict)
    """The images of `mistakes` by their number, in that order, where they were kept."""


class Answers:
    """Collects the labelled examples of one task, and thumbnails of mistakes, of doubtful answers and of a sample.

    Args:
        name: The task's name, for errors.
        task: The task; None to infer it from the first batch.
        class_names: The names in the data, or None; they must be those of the task, where both have any.
        keep: How many mistakes to keep at most.
        at: Measure and least value of operating points; None for none.
        keeps_images: Whether to keep the images of mistakes, for `paint_heat`.

    Example:
        >>> answers = Answers("animal", None, keep=1)
        >>> answers.add(0, np.zeros((2, 8, 8, 3)), np.array([0, 1]), np.array([[0.9, 0.1], [0.8, 0.2]]))
        >>> answers.result().mistakes[0].predicted
        '0'
    """

    def __init__(
        self,
        name: str,
        task: tasks.Task | None,
        *,
        class_names: Sequence[str] | None = None,
        keep: int = 24,
        at: tuple[str, float] | None = None,
        keeps_images: bool = False,
    ):
        self.name = name
        self.class_names = class_names
        self.task = None if task is None else _with_names(task, class_names)
        self.reweighted = False
        self._at = at
        self._scorer: tasks.Scorer | None = None
        self._group_scorers: dict[str, tasks.Scorer] = {}
        self._added_to: dict[str, list[np.ndarray]] = {}
        self._mistakes = examples.Kept(keep, keeps_images=keeps_images)
        self._sample = examples.Kept(SAMPLE)
        self._added: list[np.ndarray] = []  # indices of the measured examples
        self._heat: dict[int, np.ndarray] = {}
        self._unsure = examples.Kept(min(keep, UNSURE))
        self._rng = np.random.default_rng(0)

    def add(
        self,
        first: int,
        images: np.ndarray,
        targets: np.ndarray,
        outputs: np.ndarray,
        weights: np.ndarray | None = None,
        groups: np.ndarray | None = None,
    ) -> None:
        """Adds a batch whose first example has index `first`; examples of weight 0 are left out.

        Args:
            first: Index of the first example in the data.
            images: The images.
            targets: The targets.
            outputs: The model's answers.
            weights: 0 for a missing label; None for none missing.
            groups: The name of each example's group, for scores of each group.
        """
        targets = np.asarray(targets)
        if targets.ndim == 0 or len(targets) != len(outputs):
            expected = f"`{self.name}` must have one target an example, {len(outputs)} in a batch"
            raise checks.error(expected, given=targets.shape)
        if self.task is None:
            self.task = self._infer(targets, outputs)
        rows = np.arange(len(outputs))
        if weights is not None:
            weights = np.asarray(weights).reshape(len(outputs), -1)
            self.reweighted |= not np.isin(weights, (0, 1)).all()
            rows = np.flatnonzero((weights != 0).any(axis=1))
        if not len(rows):
            return
        targets, outputs = self.task.check(targets[rows], outputs[rows], first=first)
        if self._scorer is None:
            self._scorer = self.task.scorer()
        self._scorer.add(targets, outputs)
        self._added.append(first + rows)
        if groups is not None:
            self._add_by_group(first + rows, groups[rows], targets, outputs)
        errors = self.task.errors(targets, outputs)
        shown = (first + rows, images[rows], targets, outputs, errors)
        side = self.task.picture_side
        self._sample.add(1 - self._rng.random(len(rows)), *shown, side=side)
        if errors is not None:
            self._mistakes.add(errors, *shown, side=side)
        doubts = self.task.doubts(outputs)
        if doubts is not None:
            self._unsure.add(doubts, *shown, side=side)

    def _add_by_group(
        self, indices: np.ndarray, groups: np.ndarray, targets: np.ndarray, outputs: np.ndarray
    ) -> None:
        task = cast(tasks.Task, self.task)
        for name in np.unique(groups).tolist():
            if name not in self._group_scorers:
                self._group_scorers[name] = task.scorer()
            rows = np.flatnonzero(groups == name)
            self._group_scorers[name].add(targets[rows], outputs[rows])
            self._added_to.setdefault(name, []).append(indices[rows])

    def paint_heat(self, explain: Callable[[np.ndarray], Sequence[np.ndarray]]) -> None:
        """Finds the places that the wrong answers stand on.

        Args:
            explain: Returns maps of images, from 0 to 1.
        """
        images = self._mistakes.images()
        if images:
            maps = explain(np.stack(list(images.values())))
            self._heat = dict(zip(images, maps, strict=True))

    def result(
        self, files: Sequence[str] | None = None, *, together: np.ndarray | None = None
    ) -> Result | None:
        """Measures what was added, or returns None if nothing was.

        Args:
            files: The names of all examples, in order.
            together: A number for each of them, equal for those that are not independent; None where all are.
        """
        if self.task is None or self._scorer is None:
            return None
        if together is not None:
            self._scorer.groups = together[np.concatenate(self._added)]
            for name, scorer in self._group_scorers.items():
                scorer.groups = together[np.concatenate(self._added_to[name])]
        scores = self._scorer.scores()
        baseline = self._scorer.baseline()
        if baseline is not None:
            scores["baseline"] = baseline
        if self._at is not None:
            points = self._scorer.operating_points(*self._at)
            if points is not None:
                scores["operating_points"] = {"at": "{}={:g}".format(*self._at), **points}
        if self._group_scorers:
            scores["groups"] = {
                name: _summary(scorer) for name, scorer in sorted(self._group_scorers.items())
            }

        mistakes = self._mistakes.examples(self.task, files, self._heat)
        sample = self._sample.examples(self.task, files)
        unsure = self._unsure.examples(self.task, files)
        targets, outputs = self._scorer.arrays() if self.task.draws_examples else (None, None)
        kept = self._mistakes.images()
        images = {each.index: kept[each.index] for each in mistakes if each.index in kept}
        return Result(self.task, scores, mistakes, targets, outputs, sample, unsure, images)

    def _infer(self, targets: np.ndarray, outputs: np.ndarray) -> tasks.Task:
        """Returns the first task of the table that fits a model which does not say what its outputs mean."""
        if outputs.ndim != 2:
            expected = f"without `task`, the outputs of `{self.name}` must have shape (batch, classes or numbers)"
            raise checks.error(expected, given=outputs.shape, fix="Say what they are with `task=`.")
        adds_up = np.allclose(outputs.sum(axis=1), 1, atol=1e-3) and outputs.shape[1] > 1
        ids = one_hot.class_ids(targets, classes=outputs.shape[1]) if adds_up else None
        targets = targets if ids is None else ids
        fitting = (kind.infer(targets, outputs, self.class_names) for kind in tasks.TASKS.values())
        task = next(task for task in fitting if task is not None)
        return _with_names(task, self.class_names)


def _summary(scorer: tasks.Scorer) -> dict:
    """Returns the scores of a group without those of each class."""
    scores = scorer.scores()
    kept = {name: value for name, value in scores.items() if isinstance(value, float | None)}
    return {**kept, "support": scores["support"], "intervals": scores.get("intervals", {})}


def _with_names(task: tasks.Task, in_data: Sequence[str] | None) -> tasks.Task:
    """Returns the task, with the data's class names if its own are only "0", "1" ...; other differences are errors."""
    in_model = task.class_names
    if in_model is None or in_data is None or _are_numbers(in_data):
        return task
    if list(in_model) == list(in_data):
        return task
    if len(in_model) == len(in_data) and _are_numbers(in_model):
        return task.renamed(in_data)
    different = sorted(set(in_data) ^ set(in_model)) or ["the order"]
    raise checks.error(
        f"the classes of the data must be those of the model, {lookup.some(in_model)}",
        given=f"{lookup.some(in_data)}; different: {lookup.some(different)}",
    )


def _are_numbers(names: Sequence[str]) -> bool:
    """Whether the names are only the class ids "0", "1", "2" ..."""
    return list(names) == [str(i) for i in range(len(names))]
