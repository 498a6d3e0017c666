"""How well frozen features suit a task, without training on them: one score a file, one row a score.

A score is a function of features `(images, features)` and labels; more is better. Labels are class ids `(images,)`, or
numbers or tags `(images, outputs)`, which some scores do not take. A score of source labels takes the probabilities
`(images, source classes)` that a classifier gives for the images instead of features.

No score is the answer: a report of 2026 (arXiv:2510.06448) finds that an order by size alone beats most of them.
"""

from collections.abc import Callable
from typing import NamedTuple

from keras_transfer.features.scores.h_score import h_score
from keras_transfer.features.scores.knn import knn
from keras_transfer.features.scores.leep import leep
from keras_transfer.features.scores.logme import logme
from keras_transfer.features.scores.nce import nce
from keras_transfer.features.scores.probe import probe

__all__ = ["SCORES", "Score", "h_score", "knn", "leep", "logme", "nce", "probe"]


class Score(NamedTuple):
    """A row of `SCORES`."""

    function: Callable[..., float]
    title: str
    of_source: bool = False
    """Whether it takes the probabilities of source classes instead of features."""
    takes_numbers: bool = False
    """Whether labels may be numbers or tags."""
    takes_groups: bool = False
    """Whether it takes `groups=`: a group for each image, such as its video, that is not on both sides of a split."""


SCORES = {
    "probe": Score(probe, "probe", takes_numbers=True, takes_groups=True),
    "logme": Score(logme, "LogME", takes_numbers=True),
    "h_score": Score(h_score, "H-score"),
    "knn": Score(knn, "kNN", takes_numbers=True, takes_groups=True),
    "leep": Score(leep, "LEEP", of_source=True),
    "nce": Score(nce, "NCE", of_source=True),
}
