"""Many small pictures in one, of which a page or TensorBoard shows single squares."""

from collections.abc import Sequence

import numpy as np

__all__ = ["join"]

EMPTY = 128  # grey, where there is no picture


def join(pictures: Sequence[np.ndarray | None], *, side: int) -> tuple[np.ndarray, int]:
    """Returns pictures in a square of squares, row by row, and how many there are in a row.

    Args:
        pictures: uint8 RGB, height and width at most `side`; None leaves a square empty.
        side: Pixels of a square.

    Example:
        >>> sheet, columns = join([np.zeros((2, 3, 3), np.uint8)] * 5, side=3)
        >>> sheet.shape, columns
        ((9, 9, 3), 3)
    """
    columns = int(np.ceil(np.sqrt(len(pictures))))
    sheet = np.full((columns * side, columns * side, 3), EMPTY, "uint8")
    for number, picture in enumerate(pictures):
        if picture is None:
            continue
        row, column = divmod(number, columns)
        height, width = picture.shape[:2]
        square = sheet[row * side : (row + 1) * side, column * side : (column + 1) * side]
        square[:height, :width] = picture
    return sheet, columns
