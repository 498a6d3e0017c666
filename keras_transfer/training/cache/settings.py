"""What a user can say about caching."""

import dataclasses
import os
from typing import Any

from keras_transfer import features
from keras_transfer.core import checks
from keras_transfer.training.cache.traces import Traces

__all__ = ["Cache"]

WHERE = ("auto", "memory", "disk", "off")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cache:
    """Where and how `kt.fine_tune` caches the outputs of frozen layers.

    Args:
        where: "auto" is memory while they take at most a quarter of what is free, then disk, if that has room;
            "memory"; "disk", where later runs and other heads find them; "off".
        dtype: "float32" keeps every bit; "float16" halves the size and rounds to three digits.
        precision: "float32" computes the outputs as training does. "mixed_bfloat16" computes them with two to three
            digits: quicker for large convolutions on processors that support it (not for depthwise ones: time it). How
            much the accuracy differs is measured and printed in the end.
        folder: For "disk", see `kt.features.CacheFolder`.
        max_bytes: For "disk": beyond that size, what has not been used for longest is removed.
        traces: For several runs of one model, such as one for each seed: `kt.training.Traces()`, so that they trace
            the part above the frozen layers once.

    Example:
        >>> Cache.of("disk")
        Cache(where='disk', dtype='float32', precision='float32', folder=None, max_bytes=20000000000)
    """

    where: str = "auto"
    dtype: str = "float32"
    precision: str = "float32"
    folder: str | os.PathLike | None = None
    max_bytes: int | None = 20_000_000_000
    traces: Traces | None = dataclasses.field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        checks.choice(self.where, WHERE, name="cache")
        checks.choice(self.dtype, ("float32", "float16"), name="dtype")
        checks.choice(self.precision, ("float32", "mixed_bfloat16"), name="precision")
        features.CacheFolder(self.folder, max_bytes=self.max_bytes)
        if self.traces is not None and not isinstance(self.traces, Traces):
            fix = "Give kt.training.Traces()."
            raise checks.error("`traces` must be traces or None", given=repr(self.traces), fix=fix)

    @classmethod
    def of(cls, value: Any) -> "Cache":
        """Returns the settings that `value` names, or `value` if it is settings."""
        if isinstance(value, cls):
            return value
        return cls(where=checks.choice(value, WHERE, name="cache"))
