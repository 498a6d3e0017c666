"""The page of findings: what was looked at, then a box for each finding with its first images and the fix."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from keras_transfer.pages import document
from keras_transfer.studies.doctor import base

__all__ = ["costs", "render"]

HEADINGS = {"error": "Errors", "warning": "Warnings", "note": "Notes"}
MOST_NAMES = 200  # files that the page's own JSON has of a finding


def render(
    findings: Sequence[base.Finding],
    about: Mapping[str, Any],
    thumbnails: Mapping[int, str],
    *,
    title: str,
) -> str:
    """Returns the page.

    Args:
        findings: Worst first.
        about: What was looked at.
        thumbnails: Data URIs by the number of the image.
        title: Of the page.
    """
    parts = {}
    for severity, heading in HEADINGS.items():
        boxes = [_box(each, thumbnails) for each in findings if each.severity == severity]
        if boxes:
            means = f'<p class="quiet">{document.escape(base.SEVERITIES[severity])}</p>'
            parts[heading] = means + "".join(boxes)
    if not findings:
        checks = base.count(len(about.get("checks", ())), "check")
        parts["Findings"] = document.box("Nothing found", f"<p>{checks}, no findings.</p>")
    parts["Groups"] = _groups(about.get("groups") or [])
    parts["Looked at"] = _facts(about)

    short = [
        {**each.to_dict(), "files": list(each.files[:MOST_NAMES]), "details": {}}
        for each in findings
    ]
    return document.render(
        title[:1].upper() + title[1:],
        parts,
        subtitle=f"{about.get('data', 'data')} · {about['created'][:16].replace('T', ' ')}",
        values={"findings": short, "about": dict(about)},
    )


def costs(about: Mapping[str, Any]) -> list[str]:
    """Returns a line on what training takes, where that was measured.

    Example:
        >>> costs({"costs": {"seconds_an_epoch": 90.0, "memory_of_a_step": 2e9, "batch_size": 32}})
        ['an epoch takes about 1.5 minutes here, a step of 32 images about 2.0 GB']
    """
    values = about.get("costs")
    if not values:
        return []
    seconds, size = values["seconds_an_epoch"], values["memory_of_a_step"] / 1e9
    time = f"{seconds:.0f} seconds" if seconds < 60 else f"{seconds / 60:.1f} minutes"
    batch = values["batch_size"]
    return [f"an epoch takes about {time} here, a step of {batch} images about {size:.1f} GB"]


def _box(finding: base.Finding, thumbnails: Mapping[int, str]) -> str:
    items = []
    for place, file in enumerate(finding.files[: base.SHOWN]):
        row = finding.rows[place] if place < len(finding.rows) else -1
        picture = ""
        if row in thumbnails:
            picture = f'<img src="{thumbnails[row]}" alt="{document.escape(file)}">'
        caption = finding.captions[place] if place < len(finding.captions) else ""
        text = f"{document.escape(caption)} " if caption else ""
        name = document.breakable(_short(file))
        items.append(
            f'<li>{picture}{text}<span class="file" title="{document.escape(file)}">{name}</span></li>'
        )
    gallery = f'<ul class="gallery">{"".join(items)}</ul>' if items else ""
    more = len(finding.files) - len(items)
    rest = f'<p class="quiet">and {more:,} more: the JSON has all</p>' if more > 0 else ""
    fix = f"<p>{_with_code(finding.fix)}</p>" if finding.fix else ""
    title = finding.what[:1].upper() + finding.what[1:]
    return document.box(title, fix + gallery + rest)


def _with_code(text: str) -> str:
    """Returns a text with what is in backticks as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", document.escape(text))


def _short(file: str) -> str:
    """Returns the last two parts of a path."""
    return "/".join(file.replace("\\", "/").split("/")[-2:])


def _groups(table: list[Mapping]) -> str:
    if not table:
        return ""
    columns = list(dict.fromkeys(key for row in table for key in row))
    rows = []
    for row in table:
        rows.append([row.get(column) for column in columns])
    return document.box("Images by group", document.table("", columns, rows))


def _facts(about: Mapping[str, Any]) -> str:
    hidden = ("created", "groups", "costs")
    rows = [(name, value) for name, value in about.items() if name not in hidden and value]
    body = "".join(
        f'<tr><th scope="row">{document.escape(name)}</th><td>{document.escape(document.text(value))}</td></tr>'
        for name, value in rows
    )
    lines = "".join(f"<p>{document.escape(line)}</p>" for line in costs(about))
    return f'<div class="box">{lines}<table class="facts"><tbody>{body}</tbody></table></div>'
