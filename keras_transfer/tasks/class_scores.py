"""Tables of what was measured of each class, as text and as a part of the page."""

from collections.abc import Mapping, Sequence

from keras_transfer.metrics import classification
from keras_transfer.pages import document, overlays

__all__ = ["advice", "legend", "lines", "table"]

ROWS = 30  # text tables of more classes show the weakest only
NAMED = 5  # classes in a sentence
CONFUSED = 0.2  # a share of a class from which it is told that it is taken for another
COLUMNS = {"precision": "precision", "recall": "recall", "f1": "F1"}


def lines(
    classes: Mapping[str, Mapping], *, columns: Sequence[str] = tuple(COLUMNS), order: str = "f1"
) -> list[str]:
    """Returns an aligned text table of the scores of each class, of the weakest ones by `order` if there are many.

    Example:
        >>> lines({"cat": {"precision": 1.0, "recall": None, "f1": 0.5, "support": 4}})[1].split()
        ['cat', '1.000', '–', '0.500', '4']
    """
    rows = list(classes.items())
    hidden = len(rows) - ROWS
    if hidden > 0:
        rows = sorted(rows, key=lambda row: (row[1][order] is None, row[1][order]))[:ROWS]
    titles = [*columns, "support"]
    widths = [max(11, len(title) + 2) for title in titles]
    first = max(len("class"), *(len(name) for name, _ in rows))

    texts = [[title.rjust(width) for title, width in zip(titles, widths, strict=True)]]
    for _, row in rows:
        cells = ["–" if row[key] is None else f"{row[key]:.3f}" for key in columns]
        cells.append(str(row["support"]))
        texts.append([cell.rjust(width) for cell, width in zip(cells, widths, strict=True)])
    names = ["class", *(name for name, _ in rows)]
    result = [f"{name:<{first}}{''.join(cells)}" for name, cells in zip(names, texts, strict=True)]
    return [*result, f"(the weakest {ROWS} of {len(classes)} classes)"] if hidden > 0 else result


def table(
    classes: Mapping[str, Mapping], *, columns: Mapping[str, str] = COLUMNS, support: str = "images"
) -> str:
    """Returns a table of bars that a click on a heading sorts, as HTML.

    Args:
        classes: The scores of each class, `support` among them.
        columns: Titles of the scores to show.
        support: What is counted in the last column.
    """
    rows = []
    for name, row in classes.items():
        cells = "".join(_bar(row[key], is_score=key != "threshold") for key in columns)
        cells += f"<td>{row['support']}</td>"
        rows.append(f'<tr><th scope="row">{document.breakable(name)}</th>{cells}</tr>')
    titles = ("class", *columns.values(), support)
    head = "".join(
        f'<th scope="col"><button type="button">{title}</button></th>' for title in titles
    )
    caption = f"<caption>{len(rows)} classes; click a heading to sort.</caption>"
    body = f"{caption}<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody>"
    scroll = '<div class="scroll" tabindex="0" role="region" aria-label="Each class">'
    return document.box("Each class", f'{scroll}<table class="bars">{body}</table></div>')


def legend(names: Sequence[str]) -> str:
    """Returns the colours that classes are drawn in, as HTML.

    Example:
        >>> legend(["sky", "road"]).count("swatch")
        2
    """
    items = []
    for number, name in enumerate(names):
        red, green, blue = overlays.colour(number)
        swatch = f'<span class="swatch" style="background:rgb({red},{green},{blue})"></span>'
        items.append(f"<li>{swatch} {document.escape(name)}</li>")
    return document.box("Colours", f'<ul class="legend">{"".join(items)}</ul>')


def advice(scores: Mapping, counts: Mapping[str, int]) -> list[str]:
    """Returns which classes need more photos, and which two are hardest to tell apart, as sentences.

    A class is named if its recall is below the accuracy by more than chance: by the normal approximation, two standard
    errors.

    Args:
        scores: Of a classification.
        counts: The number of training images of each class, where they were counted.

    Example:
        >>> cat = {"recall": 0.2, "support": 50}
        >>> dog = {"recall": 1.0, "support": 50}
        >>> scores = {"accuracy": 0.6, "classes": {"cat": cat, "dog": dog}, "confusion": [[10, 40], [0, 50]]}
        >>> advice(scores, {"cat": 12})[0]
        'More photos of cat (right for 20 % of 50 images; 12 to learn from) would help most.'
    """
    weak = []
    for name, row in scores["classes"].items():
        if row["recall"] is None:
            continue
        error = (scores["accuracy"] * (1 - scores["accuracy"]) / row["support"]) ** 0.5
        if scores["accuracy"] - row["recall"] > 2 * error:
            weak.append((row["recall"], name, row["support"]))

    sentences = []
    if weak:
        named = []
        for recall, name, support in sorted(weak)[:NAMED]:
            learned = f"; {counts[name]:,} to learn from" if name in counts else ""
            named.append(f"{name} (right for {100 * recall:.0f} % of {support:,} images{learned})")
        sentences.append(f"More photos of {', '.join(named)} would help most.")

    names = list(scores["classes"])
    for true, other, count in classification.confused(scores["confusion"], names, limit=1):
        share = count / scores["classes"][true]["support"]
        if share >= CONFUSED and count > 1:
            sentences.append(
                f"{true} is taken for {other} in {100 * share:.0f} % of its images: look whether a person can tell "
                "them apart in these photos, and whether their labels are right."
            )
    return sentences


def _bar(value: float | None, *, is_score: bool) -> str:
    if value is None:
        return '<td data-value="-1">–</td>'
    if not is_score:
        return f'<td data-value="{value}">{value:.3f}</td>'
    return f'<td class="bar" style="--share:{value:.4f}" data-value="{value}">{value:.3f}</td>'
