"""Files that cannot be read."""

from collections.abc import Iterator

from keras_transfer.studies.doctor import base

__all__ = ["check"]


def check(case: base.Case) -> Iterator[base.Finding]:
    """Yields one finding with the reason for each file."""
    failures = case.pictures.failures
    if not failures:
        return
    reasons = {case.pictures.names[row]: why for row, why in failures.items()}
    files = base.count(len(failures), "file")
    yield case.finding(
        "error",
        f"{files} of {len(case.pictures):,} cannot be read",
        list(failures),
        fix='Repair or remove them, or leave them out with `corrupt="skip"`.',
        details={"reasons": reasons},
        captions=tuple(failures.values()),
    )
