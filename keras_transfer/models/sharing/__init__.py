"""How several tasks share a trunk: one scheme a file, one row each."""

from collections.abc import Mapping

from keras_transfer.core import checks, lookup
from keras_transfer.models.sharing.attention import Attention
from keras_transfer.models.sharing.base import Features, Sharing, mark_end
from keras_transfer.models.sharing.branched import Branched
from keras_transfer.models.sharing.cross_stitch import CrossStitched
from keras_transfer.models.sharing.experts import Experts
from keras_transfer.models.sharing.hard import Hard

__all__ = [
    "SHARING",
    "Attention",
    "Branched",
    "CrossStitched",
    "Experts",
    "Features",
    "Hard",
    "Sharing",
    "find",
    "mark_end",
]

SHARING = {
    "hard": Hard,
    "branched": Branched,
    "cross_stitch": CrossStitched,
    "experts": Experts,
    "attention": Attention,
}


def find(sharing: object) -> Sharing:
    """Returns a scheme from what users give: None, a name, a scheme, or a pattern by task for branches.

    Example:
        >>> type(find({"age": "block3*"})).__name__
        'Branched'
    """
    if sharing is None:
        return Hard()
    if isinstance(sharing, Sharing):
        return sharing
    if isinstance(sharing, Mapping):
        return Branched(sharing)
    if isinstance(sharing, str):
        return lookup.find(sharing, SHARING, argument="sharing")()
    raise checks.error(
        "`sharing` must be a name, a scheme of kt.models, or a dict of task and pattern",
        given=repr(sharing),
        fix=f"Names: {', '.join(map(repr, SHARING))}.",
    )
