"""What is wrong with the rows of a table or an annotation, place by place."""

from collections.abc import Iterable

from keras_transfer.core import checks

__all__ = ["Problems"]

SHOWN = 5


class Problems:
    """Collects what is wrong, by place; a place keeps its first reason.

    Example:
        >>> problems = Problems()
        >>> problems.add("line 7", "no number: 'x'")
        >>> problems.text()
        "line 7 (no number: 'x')"
    """

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}

    def add(self, place: str, reason: str) -> None:
        """Adds the reason why a place is wrong."""
        self.reasons.setdefault(place, reason)

    def update(self, others: Iterable[tuple[str, str]]) -> None:
        """Adds several places with their reasons."""
        for place, reason in others:
            self.add(place, reason)

    def __len__(self) -> int:
        return len(self.reasons)

    def __contains__(self, place: str) -> bool:
        return place in self.reasons

    def text(self) -> str:
        """Returns the first few places with their reasons, and how many more there are."""
        shown = [f"{place} ({why})" for place, why in list(self.reasons.items())[:SHOWN]]
        more = len(self.reasons) - len(shown)
        return ", ".join(shown) + (f" and {more} more" if more else "")

    def settle(self, corrupt: str, *, what: str, where: str) -> list[str]:
        """Raises an error for what is wrong, or notes that it is left out.

        Args:
            corrupt: "error" or "skip".
            what: What can be wrong, such as "row".
            where: What holds it.
        """
        if not self.reasons:
            return []
        if corrupt == "error":
            count = f"1 {what} is" if len(self) == 1 else f"{len(self)} {what}s are"
            fix = 'Repair or remove them, or leave them out with `corrupt="skip"`.'
            given = f"{count} not: {self.text()}"
            raise checks.error(f"every {what} of {where} must be whole", given=given, fix=fix)
        count = f"1 {what}" if len(self) == 1 else f"{len(self)} {what}s"
        return [checks.note(f"skipped {count} of {where}: {self.text()}")]
