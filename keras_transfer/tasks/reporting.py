"""How a task is told in words, figures and pages: the half of `Task` that reports ask."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from keras_transfer.pages import document

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Reporting"]


class Reporting:
    """What a report says of a task; `Task` is one, and a subclass of it has what differs between kinds of answers.

    By default the report has the numbers of `Task.measure` in one line, and no part of the page besides.

    Example:
        >>> Reporting().headline("mean_iou", {})
        ('mean iou', '')
    """

    score = "score"
    """The number of `measure` that sums a model up."""

    higher_is_better = True
    """Whether more of it is better."""

    draws_examples = False
    """Whether `section` draws the targets and outputs of all examples."""

    headlines: Mapping[str, tuple[str, str]] = {}
    """Title and help line of each score."""

    mistakes_title = "Mistakes"
    target_title = "The target"

    hides_picture = False
    """Whether `draw` puts something in the place of the picture, which is shown beside it then."""

    picture_side = 96
    """Pixels of the longer side of pictures in the report."""

    def baseline_warning(self, scores: Mapping) -> str:
        """Returns a line where the scores are not better than those of the baseline, else "".

        Args:
            scores: Of `measure`, with what `baseline` returned as `baseline`.
        """
        baseline = scores.get("baseline")
        if not baseline or baseline["is_beaten"]:
            return ""
        own, constant = scores[self.score], baseline["scores"][self.score]
        is_better = own > constant if self.higher_is_better else own < constant
        clearly, chance = ("clearly ", ", which may be chance") if is_better else ("", "")
        title, _ = self.headline(self.score, scores)
        numbers = f"{document.number(own)} against {document.number(constant)}"
        return (
            f"Not {clearly}better than always answering {baseline['answer']}: "
            f"{title[:1].lower()}{title[1:]} {numbers} on {scores['support']:,} images{chance}."
        )

    def verdict(self, scores: Mapping) -> str:
        """Returns a sentence on how good the answers are, compared with one answer for all images; "" if unknown.

        Args:
            scores: As for `baseline_warning`.
        """
        if scores.get(self.score) is None:
            return ""
        title, _ = self.headline(self.score, scores)
        between = self.interval_text(self.score, scores, form=" (95 %: {} to {})")
        line = f"{title} is {document.number(scores[self.score])}{between}"
        if "support" in scores:
            line += f" on {scores['support']:,} images"
        baseline = scores.get("baseline")
        if baseline:
            constant = document.number(baseline["scores"][self.score])
            line += f"; always answering {baseline['answer']} has {constant}"
        return f"{line}."

    def advice(self, scores: Mapping, counts: Mapping[str, int]) -> list[str]:
        """Returns what would make the answers better, as sentences; the most useful first.

        Args:
            scores: As for `verdict`.
            counts: The number of training images of each label, where they were counted.
        """
        return []

    def describe(self, value: np.ndarray) -> str:
        """Returns one target or one output in words."""
        return str(value)

    def describe_error(self, error: float) -> str:
        """Returns what one number of `errors` means, in words."""
        return f"error {error:.4g}"

    def draw(
        self, picture: np.ndarray, value: np.ndarray, *, image_size: tuple[int, int]
    ) -> np.ndarray | None:
        """Returns a picture with one target or output drawn on it, or None for a task whose answers have no places.

        Args:
            picture: uint8 RGB, maybe smaller than the image.
            value: As `check` returns it.
            image_size: Height and width of the image.
        """
        return None

    def headline(self, score: str, scores: Mapping) -> tuple[str, str]:
        """Returns the title of a score in the report, and a line below its number."""
        return self.headlines.get(score) or (score.replace("_", " "), "")

    def interval_text(self, score: str, scores: Mapping, *, form: str = "95 %: {} – {}") -> str:
        """Returns the 95 % interval of a score in words; "" where there is none."""
        bounds = (scores.get("intervals") or {}).get(score)
        return form.format(*map(document.number, bounds)) if bounds else ""

    def text(self, scores: Mapping) -> list[str]:
        """Returns the lines of the printed report.

        Args:
            scores: Of `measure`; also `baseline`, and in `measured_on` what their images were used for before.
        """
        numbers = []
        for key, value in scores.items():
            if isinstance(value, float):
                within = self.interval_text(key, scores, form=" ({} to {})")
                numbers.append(f"{key} {value:.3f}" + (within if key == self.score else ""))
        line = f"{'   '.join(numbers)}   examples {scores.get('support', '?')}"
        remarks = [scores.get("measured_on"), self.baseline_warning(scores)]
        return [line, *filter(None, remarks), *self.group_lines(scores)]

    def group_lines(self, scores: Mapping) -> list[str]:
        """Returns a table of the scores of each group, the worst first; no lines where there are no groups."""
        return [
            f"{name}: {self.score} {document.number(row.get(self.score))}"
            f"{self.interval_text(self.score, row, form=' ({} to {})')}   examples {row['support']}"
            for name, row in self.worst_groups(scores)
        ]

    def worst_groups(self, scores: Mapping) -> list[tuple[str, Mapping]]:
        """Returns the groups and their scores, the worst first."""
        sign = 1 if self.higher_is_better else -1

        def rank(row: tuple[str, Mapping]) -> float:
            value = row[1].get(self.score)
            return np.inf if value is None else sign * value

        return sorted((scores.get("groups") or {}).items(), key=rank)

    def figures(
        self, scores: Mapping, targets: np.ndarray | None, outputs: np.ndarray | None
    ) -> "dict[str, Figure]":
        """Returns what is drawn of the scores, by the names that files of them get; their labels are their titles.

        Args:
            scores: Of `measure`.
            targets: Of all examples; None unless `draws_examples`.
            outputs: As `targets`.
        """
        return {}

    def section(
        self,
        scores: Mapping,
        targets: np.ndarray | None,
        outputs: np.ndarray | None,
        *,
        name: str,
    ) -> str:
        """Returns the task's part of the page as HTML, between its numbers and its mistakes.

        Args:
            scores: Of `measure`.
            targets: Of all examples; None unless `draws_examples`.
            outputs: As `targets`.
            name: Unique in the page, for the ids of figures.
        """
        return ""
