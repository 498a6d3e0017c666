"""The scores by which models are compared: which of a task's, whether more is better, and how a difference reads."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from keras_transfer import tasks
from keras_transfer.core import checks, lookup

__all__ = ["Score", "by_task", "choose"]

# Scores of which less is better, and one that has no better side.
LESS = {"mae", "rmse", "log_rmse", "abs_rel", "ece"}
NEITHER = {"bias"}
# Scores that are no shares: a difference is in the unit of the labels, or has none.
NO_SHARES = {"mae", "rmse", "log_rmse", "r2", "psnr", "ssim", "score"}


@dataclasses.dataclass(frozen=True)
class Score:
    """A score of a task.

    Attributes:
        name: Its key in the report.
        title: As people say it.
        higher_is_better: Whether more of it is better.
        is_share: Whether it lies in 0..1, so that differences are told in points of a hundred.

    Example:
        >>> accuracy = Score("accuracy", "accuracy", True, True)
        >>> accuracy.text(0.91234), accuracy.difference(0.054), accuracy.sign
        ('91.2 %', '5.4 points', 1.0)
    """

    name: str
    title: str
    higher_is_better: bool
    is_share: bool

    @property
    def sign(self) -> float:
        """1 where more is better, else -1."""
        return 1.0 if self.higher_is_better else -1.0

    def text(self, value: float) -> str:
        """Returns a value as people read it."""
        return f"{100 * value:.1f} %" if self.is_share else f"{value:.4g}"

    def number(self, value: float, *, signed: bool = False) -> str:
        """Returns a value or a difference without its unit."""
        sign = "+" if signed else ""
        if self.is_share:
            return f"{100 * value:{sign}z.1f}"
        return f"{value:{sign}z.3g}"

    def difference(self, value: float) -> str:
        """Returns how far apart two values are, in words."""
        return f"{self.number(value)} {'points' if self.is_share else self.title}"


def choose(task: tasks.Task, metric: str | None = None, *, name: str = "") -> Score:
    """Returns the score of a task: the one that sums it up, or `metric`.

    Args:
        task: The task.
        metric: A score of its report.
        name: Of the task, for the error.

    Raises:
        InputError: If the task has no such score, or none of its sides is better.

    Example:
        >>> choose(tasks.Classification(2)).name, choose(tasks.Regression(), "rmse").higher_is_better
        ('accuracy', False)
    """
    chosen = task.score if metric is None else metric
    known = {task.score: "", **task.headlines}
    known = {key: value for key, value in known.items() if key not in NEITHER}
    if chosen not in known:
        of = f" of {name!r}" if name else ""
        fix = f"It has {', '.join(map(repr, known))}."
        if lookup.close(str(chosen), known, cutoff=0.7):
            fix = lookup.hint(str(chosen), list(known))
        expected = f"`metric` must be a score of a {task.kind}{of} that can be better or worse"
        raise checks.error(expected, given=repr(chosen), fix=fix)
    title = (task.headlines.get(chosen) or (chosen.replace("_", " "), ""))[0]
    if not title[1:2].isupper() and title[:1].isalpha():
        title = title[:1].lower() + title[1:]
    higher = chosen not in LESS
    if chosen == task.score:
        higher = task.higher_is_better
    return Score(chosen, title, higher, chosen not in NO_SHARES)


def by_task(task: tasks.Task | Mapping[str, tasks.Task], metric: Any = None) -> dict[str, Score]:
    """Returns the score of each task by name; of a single one under its kind.

    Args:
        task: A task, or tasks by name.
        metric: A score, or a dict of scores by task; None for those that sum the tasks up.

    Example:
        >>> by_task(tasks.Classification(2), "f1")["classification"].name
        'f1'
    """
    named = task if isinstance(task, Mapping) else {task.kind: task}
    if isinstance(metric, Mapping):
        for name in metric:
            lookup.find(name, named, argument="metric")
        wanted = dict(metric)
    elif metric is not None and len(named) > 1:
        fix = f"Such as {{{next(iter(named))!r}: {metric!r}}}."
        raise checks.error("`metric` must be a dict by task", given=repr(metric), fix=fix)
    else:
        wanted = dict.fromkeys(named, metric)
    return {name: choose(one, wanted.get(name), name=name) for name, one in named.items()}
