"""Whether decoded files stay in memory: one rule, and one note, for all sources that read files."""

from keras_transfer.core import checks
from keras_transfer.machine import memory

__all__ = ["CACHES", "choose_to_keep"]

CACHES = ("auto", "memory", "off")


def choose_to_keep(
    count: int,
    size: tuple[int, int],
    channels: int,
    cache: str,
    notes: list[str],
    *,
    more: int = 0,
) -> bool:
    """Decides whether decoded images are kept in memory, and notes why: if they take up a quarter of what is free.

    Args:
        count: How many images there are.
        size: Height and width that they are resized to.
        channels: Of the images.
        cache: "memory" keeps them whatever they take up, "off" never does, "auto" decides.
        notes: Gets the note.
        more: Bytes of the masks and target images that belong to one image.

    Example:
        >>> choose_to_keep(2, (8, 8), 3, "off", [])
        keras_transfer: 2 images are resized to 8x8 pixels, from their files in every epoch (cache='off')
        False
    """
    needed, free = count * (size[0] * size[1] * channels + more), memory.free_memory()
    keep = cache == "memory" or (cache == "auto" and needed <= free / 4)
    what = f"{count} images are resized to {size[0]}x{size[1]} pixels"
    if more:
        what = f"{count} images and their targets are resized to {size[0]}x{size[1]} pixels"
    if keep:
        end = f" and kept in memory ({needed / 1e6:.1f} MB)"
    elif cache == "off":
        end = ", from their files in every epoch (cache='off')"
    else:
        shares = f"{needed / 1e9:.1f} GB of {free / 1e9:.1f} GB that are free"
        end = f", from their files in every epoch: they would take up too much memory ({shares})"
    notes.append(checks.note(f"{what}{end}"))
    return keep
