"""Tables and numbers of things as plain text."""

from collections.abc import Collection, Sequence

__all__ = ["align", "count"]


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


def count(things: Collection, noun: str) -> str:
    """Returns how many there are, in words.

    Example:
        >>> count(["a"], "seed"), count(["a", "b"], "seed")
        ('1 seed', '2 seeds')
    """
    return f"{len(things)} {noun}{'' if len(things) == 1 else 's'}"
