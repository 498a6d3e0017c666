"""Tables as plain text."""

from collections.abc import Collection, Sequence

__all__ = ["align"]


def align(rows: Sequence[Sequence[str]], *, left: Collection[int] = (0,)) -> list[str]:
    """Returns a line for each row, with the cells of a column below each other.

    Args:
        rows: Of equal length, the heading first.
        left: Numbers of the columns that are set flush left; all others are flush right.

    Example:
        >>> align([("arm", "score"), ("probe", "0.5")])
        ['arm    score', 'probe    0.5']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = []
        for place, (cell, width) in enumerate(zip(row, widths, strict=True)):
            cells.append(cell.ljust(width) if place in left else cell.rjust(width))
        lines.append("  ".join(cells).rstrip())
    return lines
