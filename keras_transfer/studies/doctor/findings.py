"""What `kt.doctor` returns: findings, worst first, that print as text and save as a page or as JSON."""

import datetime
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import overload

from keras_transfer.pages import record
from keras_transfer.studies.doctor import base, page

__all__ = ["Findings"]


class Findings(record.Saved, Sequence):
    """Findings, errors first: a sequence that prints as a short text and saves as a page or as JSON.

    Args:
        findings: In any order.
        about: What was looked at, as values that JSON knows.
        thumbnails: Pictures of some images as data URIs, by their number.

    Example:
        >>> from keras_transfer.studies.doctor.base import Finding
        >>> findings = Findings([Finding("warning", "1 image is dark", fix="Brighten it.", count=1, files=("a.jpg",))])
        >>> print(findings)
        1 warning in 0 images
        warning: 1 image is dark
          a.jpg
          Brighten it.
    """

    def __init__(
        self,
        findings: Iterable[base.Finding],
        about: Mapping | None = None,
        thumbnails: Mapping[int, str] | None = None,
    ) -> None:
        order = list(base.SEVERITIES)
        self._findings = sorted(
            findings, key=lambda each: (order.index(each.severity), -each.count)
        )
        created = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        self.about = {"created": created, **(about or {})}
        self._thumbnails = dict(thumbnails or {})

    @overload
    def __getitem__(self, index: int) -> base.Finding: ...
    @overload
    def __getitem__(self, index: slice) -> list[base.Finding]: ...

    def __getitem__(self, index: int | slice) -> base.Finding | list[base.Finding]:
        return self._findings[index]

    def __len__(self) -> int:
        return len(self._findings)

    @property
    def errors(self) -> list[base.Finding]:
        """The findings that make training fail, or its result worthless."""
        return [each for each in self._findings if each.severity == "error"]

    def of(self, check: str) -> list[base.Finding]:
        """Returns the findings of one check, by its name: see `kt.studies.CHECKS`."""
        return [each for each in self._findings if each.check == check]

    def __repr__(self) -> str:
        return f"Findings({self.summary()})"

    def __str__(self) -> str:
        lines = [self.summary()]
        for finding in self._findings:
            lines.append(f"{finding.severity}: {finding.what}")
            if finding.files:
                lines.append(f"  {self._some(finding.files)}")
            if finding.fix:
                lines.append(f"  {finding.fix}")
        return "\n".join([*lines, *page.costs(self.about)])

    def _some(self, files: Sequence[str]) -> str:
        """Returns the first files, as they are called in the folder."""
        root = f"{self.about.get('data', '')}{os.sep}"
        shown = ", ".join(file.removeprefix(root) for file in files[: base.SHOWN])
        more = len(files) - base.SHOWN
        return f"{shown} and {more:,} more" if more > 0 else shown

    def summary(self) -> str:
        """Returns one line: how many findings of each severity in how many images."""
        parts = []
        for severity in base.SEVERITIES:
            number = sum(each.severity == severity for each in self._findings)
            if number:
                parts.append(base.count(number, severity))
        images = base.count(self.about.get("images", 0), "image")
        return f"{', '.join(parts) or 'no findings'} in {images}"

    def to_json(self) -> str:
        """Returns `to_dict()` as JSON text, with all files of each finding."""
        values = {"findings": [each.to_dict() for each in self._findings], "about": self.about}
        return json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False)

    def to_html(self) -> str:
        """Returns a page that needs nothing outside itself."""
        return page.render(self._findings, self.about, self._thumbnails, title=self.summary())
