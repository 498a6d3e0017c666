"""The strategies of `kt.strategy` under JAX."""

from collections.abc import Sequence
from typing import Any  # a keras.distribution.Distribution

import keras

from keras_transfer.core import checks

__all__ = ["make"]


def make(name: str, devices: int | Sequence[str] | None) -> tuple[Any, str]:
    """Returns a `keras.distribution.DataParallel`, set for this process, and a line that says what it trains on.

    Args:
        name: As for `kt.strategy`.
        devices: As for `kt.strategy`.
    """
    found = keras.distribution.list_devices()
    if devices is None or name == "one":
        chosen = found[:1] if name == "one" else found
    elif isinstance(devices, int):
        chosen = found[:devices]
        if len(chosen) < devices:
            raise checks.error(f"`devices` must be at most {len(found)}", given=devices)
    else:
        chosen = list(devices)
    made = keras.distribution.DataParallel(devices=chosen, auto_shard_dataset=False)
    made.num_replicas_in_sync = len(chosen)
    keras.distribution.set_distribution(made)
    return made, f"every batch is shared among {', '.join(chosen)}"
