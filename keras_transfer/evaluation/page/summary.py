"""The part of the page that comes first: how good the model is, in sentences, and what to do next."""

from collections.abc import Mapping, Sequence

from keras_transfer.pages.document import escape

__all__ = ["part"]


def part(summary: Mapping[str, Sequence[str]]) -> str:
    """Returns the part as HTML.

    Args:
        summary: Of `advice.summarise`.
    """
    first, *more = summary["answer"] or [""]
    if not first:
        return ""
    answer = f'<p class="lead" id="answer">{escape(first)}</p>'
    answer += "".join(f"<p>{escape(sentence)}</p>" for sentence in more)
    return f'<div class="box">{answer}{_next(summary["next"])}</div>'


def _next(sentences: Sequence[str]) -> str:
    if not sentences:
        return ""
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f'<h3>What to do next</h3><ol class="notes" id="next">{items}</ol>'
