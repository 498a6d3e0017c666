"""A self-contained page of parts, and what parts are made of: nothing in it is loaded from elsewhere.

Every text goes through `escape`; the only scripts are `styling.SORT` and the numbers as JSON.
"""

import html
import json
import os
import pathlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any  # cells hold any plain value

from keras_transfer.core import checks
from keras_transfer.pages import styling
from keras_transfer.storage import files

__all__ = [
    "box",
    "breakable",
    "escape",
    "frame",
    "number",
    "rate",
    "render",
    "save",
    "slug",
    "table",
    "text",
]


def render(title: str, parts: Mapping[str, str], *, subtitle: str, values: Mapping) -> str:
    """Returns the page.

    Args:
        title: Of the page.
        parts: HTML of each part by its heading; empty ones are left out.
        subtitle: One line of facts.
        values: All numbers, embedded as JSON.

    Example:
        >>> "<h2>Scores</h2>" in render("A run", {"Scores": box("Accuracy", "0.5")}, subtitle="today", values={})
        True
    """
    parts = {name: text for name, text in parts.items() if text}
    links = "".join(f'<a href="#part-{i}">{escape(name)}</a>' for i, name in enumerate(parts))
    body = "".join(
        f'<section id="part-{i}"><h2>{escape(n)}</h2>{t}</section>'
        for i, (n, t) in enumerate(parts.items())
    )
    embedded = json.dumps(values, ensure_ascii=True, allow_nan=False).replace("<", "\\u003c")
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{escape(styling.POLICY)}">
<title>{escape(title)}</title>
<link rel="icon" href="data:,">
<style>{styling.STYLE}</style>
</head>
<body>
<header><h1>{escape(title)}</h1><p class="quiet">{escape(subtitle)}</p>
<nav aria-label="Parts of the report">{links}</nav></header>
<main>{body}</main>
<footer>Made by keras_transfer. The page holds its numbers as JSON, too: the element “report”.</footer>
<script type="application/json" id="report">{embedded}</script>
<script>{styling.SORT}</script>
</body>
</html>
"""


def save(path: str | os.PathLike, writers: Mapping[str, Callable[[], str]]) -> None:
    """Writes a text; the file appears complete or not at all.

    Args:
        path: Its ending chooses the writer.
        writers: What makes the text, by ending.

    Raises:
        InputError: If the ending is another, or the file cannot be written.

    Example:
        >>> save("/tmp/doc_example.json", {".json": lambda: "{}"})
    """
    path = pathlib.Path(path)
    if path.suffix.lower() not in writers:
        raise checks.error(f"`path` must end in {' or '.join(writers)}", given=f"'{path}'")
    content = writers[path.suffix.lower()]()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_text(path, content)
    except OSError as refused:
        raise checks.error(
            "`path` must be writable", given=f"'{path}' ({refused.strerror})"
        ) from refused


def text(value: Any) -> str:
    """Returns a plain value as a person reads it; mappings and lists in one line.

    Example:
        >>> text({"rate": 0.00012345, "images": 12000})
        'rate 0.0001234, images 12,000'
    """
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {text(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return ", ".join(map(text, value))
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return number(value)


def table(caption: str, columns: Iterable[str], rows: Iterable[Sequence]) -> str:
    """Returns a table of plain values.

    Example:
        >>> "<td>0.5</td>" in table("Scores", ["task", "accuracy"], [("kind", 0.5)])
        True
    """
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    body = ""
    for row in rows:
        cells = "".join(f"<td>{escape(text(cell))}</td>" for cell in row)
        body += f"<tr>{cells}</tr>"
    caption = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f'<div class="scroll"><table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def box(title: str, content: str) -> str:
    """Returns HTML in a frame of its own under a heading.

    Example:
        >>> box("Scores", "<p>0.5</p>")
        '<div class="box"><h3>Scores</h3><p>0.5</p></div>'
    """
    return f'<div class="box"><h3>{escape(title)}</h3>{content}</div>'


def frame(page: str, *, title: str) -> str:
    """Returns a page as an element that a notebook shows.

    Example:
        >>> frame("<p>", title="Report")[:27]
        '<iframe srcdoc="&lt;p&gt;" '
    """
    style = "width:100%;height:48rem;border:0"
    return f'<iframe srcdoc="{escape(page)}" style="{style}" title="{escape(title)}"></iframe>'


def number(value: Any) -> str:
    """Returns a number with as many digits as tell something; other plain values as they are, None as a dash.

    Example:
        >>> number(0.12345), number(1234.5), number(None)
        ('0.123', '1,234', '–')
    """
    if value is None:
        return "–"
    if isinstance(value, float):
        return (
            f"{value:.3f}"
            if 0.0095 <= abs(value) < 100
            else f"{value:,.0f}"
            if abs(value) >= 100
            else f"{value:.3g}"
        )
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def rate(value: float) -> str:
    """Returns how many in a second, as a person would say it.

    Example:
        >>> rate(41.728), rate(1234.5), rate(3.456)
        ('42', '1,234', '3.5')
    """
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def slug(name: str) -> str:
    """Returns a name as an id in the page.

    Example:
        >>> slug("top 5")
        'top-5'
    """
    return re.sub(r"[^A-Za-z0-9_]+", "-", name)


def escape(value: Any) -> str:
    """Returns a value as text that HTML takes for nothing else.

    Example:
        >>> escape("<b>")
        '&lt;b&gt;'
    """
    return html.escape(str(value), quote=True)


def breakable(name: str) -> str:
    """Returns a name as HTML that may be broken between its words, underscores and hyphens included, nowhere else.

    Example:
        >>> breakable("pit_bull & co")
        'pit_<wbr>bull &amp; co'
    """
    return re.sub(r"([_/\\-]+)(?=.)", r"\1<wbr>", escape(name))
