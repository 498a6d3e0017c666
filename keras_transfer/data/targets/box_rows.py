"""Boxes in the form that the loss takes: checks of rows that do not come from `kt.data`."""

from collections.abc import Sequence

import numpy as np

from keras_transfer.core import checks
from keras_transfer.data.targets import boxes

__all__ = ["check", "check_places"]


def check(rows: np.ndarray, *, classes: int) -> None:
    """Raises an error for rows `(images, most objects, 6)` that are no boxes.

    Args:
        rows: `x1, y1, x2, y2`, class id (-1 for no object), whether it is to be ignored.
        classes: How many there are.
    """
    ids = rows[..., 4]
    is_known = np.isfinite(rows).all(axis=-1)
    is_object = ids >= 0
    is_wrong = is_object & ((ids != np.rint(ids)) | (ids >= classes))
    is_empty = is_object & (rows[..., 2:4] <= rows[..., :2]).any(axis=-1)
    for is_fault, expected in (
        (~is_known, "boxes must have finite numbers, also where a row is none"),
        (is_wrong, f"boxes must have class ids from 0 to {classes - 1}"),
        (is_empty, "boxes must have x1 < x2 and y1 < y2"),
    ):
        if is_fault.any():
            image, place = np.argwhere(is_fault)[0]
            given = f"{rows[image, place].tolist()} in image {image}"
            raise checks.error(expected, given=given)


def check_places(rows: np.ndarray, image_size: Sequence[int | None]) -> None:
    """Raises an error for boxes that do not lie in images of this size, and guesses which format they have.

    Args:
        rows: As for `check`; of other shapes nothing is said.
        image_size: Height and width; nothing is said where one of them is None.
    """
    height, width = image_size
    if height is None or width is None or rows.ndim != 3 or rows.shape[-1] != 6:
        return
    corners = rows[rows[..., 4] >= 0][:, :4]
    hint = boxes.other_format(corners, (width, height))
    is_share = len(corners) > 0 and ((corners >= 0) & (corners <= 1)).all()
    is_beyond = (corners[:, :2] >= [width, height]) | (corners[:, 2:] <= 0)
    if is_share:
        hint = "They look like shares of the picture: multiply x by its width and y by its height."
    if is_share or is_beyond.any() or hint:
        wrong = 0 if is_share else int(is_beyond.any(axis=1).argmax())
        raise checks.error(
            f"boxes must be x1, y1, x2, y2 in pixels of images of {height} x {width}",
            given=corners[wrong].tolist(),
            fix=hint,
        )
