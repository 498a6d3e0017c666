"""Which group each measured image belongs to: a column of values, or another target."""

from collections.abc import Mapping, Sequence
from typing import Any  # targets are tensors or dicts of them

import numpy as np

from keras_transfer.core import checks, labelled, lookup

__all__ = ["Grouping"]

MOST = 100  # different groups
UNKNOWN = "(no label)"  # group of images whose target is missing


class Grouping:
    """Names the groups of images batch by batch.

    Args:
        groups: One value an image, the name of a target, or None.
        rows: Number of images, where it is known.
        class_names: Of the targets: names, a dict of them, or None.

    Raises:
        InputError: If there are fewer or more values than images, or too many different ones.

    Example:
        >>> Grouping(["day", "night", "day"], 3, None).of_batch(1, 2, None, None).tolist()
        ['night', 'day']
    """

    def __init__(
        self, groups: str | Sequence | np.ndarray | None, rows: int | None, class_names: Any
    ) -> None:
        self.target = groups if isinstance(groups, str) else None
        self.class_names = class_names if isinstance(class_names, Mapping) else {}
        self.names: np.ndarray | None = None
        if groups is None or self.target is not None:
            return
        self.names = np.array([str(value) for value in groups])
        if rows is not None and rows >= 0 and len(self.names) != rows:
            raise checks.error(
                f"`groups` must have a value for each of {rows:,} images",
                given=f"{len(self.names):,}",
            )
        self._check_count(self.names)

    def of_batch(self, first: int, size: int, targets: Any, weights: Any) -> np.ndarray | None:
        """Returns the group of each image of a batch; None where there are no groups.

        Args:
            first: Index of the first image in the data.
            size: Number of images.
            targets: Of the batch, as the data gives them.
            weights: Of the batch, as the data gives them: 0 where a target is missing.
        """
        if self.target is not None:
            return self._of_target(targets, weights)
        if self.names is None:
            return None
        names = self.names[first : first + size]
        if len(names) < size:
            raise checks.error(
                "`groups` must have a value for each image", given=f"only {len(self.names):,}"
            )
        return names

    def check_end(self, examples: int) -> None:
        """Raises an error if fewer images were measured, because files were left out, say: groups would be shifted."""
        if self.names is not None and len(self.names) != examples:
            raise checks.error(
                f"`groups` must have a value for each of {examples:,} images",
                given=f"{len(self.names):,}",
            )

    def _of_target(self, targets: Any, weights: Any) -> np.ndarray:
        by_name = targets if isinstance(targets, Mapping) else {}
        if self.target not in by_name:
            known = lookup.some(list(by_name)) if by_name else "one target without a name"
            raise checks.error(
                "`groups` must have a value for each image, or be the name of a target",
                given=f"{self.target!r}, with {known}",
            )
        values = np.asarray(by_name[self.target])
        if values.ndim != 1 or values.dtype.kind not in "iub":
            raise checks.error(
                "`groups` must be the name of a target with classes",
                given=f"{self.target!r}, {values.dtype} of shape {values.shape}",
            )
        names = self.class_names.get(self.target)
        found = [str(value) if names is None else names[value] for value in values]
        own = weights.get(self.target) if isinstance(weights, Mapping) else None
        if own is not None:
            is_known = labelled.rows(own)
            found = [name if is_known[at] else UNKNOWN for at, name in enumerate(found)]
        return np.array(found)

    def _check_count(self, names: np.ndarray) -> None:
        count = len(np.unique(names))
        if count > MOST:
            raise checks.error(
                f"`groups` must have at most {MOST} different values",
                given=f"{count:,}",
                fix="Put numbers into ranges.",
            )
