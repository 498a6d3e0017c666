"""Masks in a folder beside the folder of their pictures."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any  # a class may be a value or a colour

import numpy as np

from keras_transfer.core import checks
from keras_transfer.data import base
from keras_transfer.data.sources import file_data, matching, reading
from keras_transfer.storage import listing

__all__ = ["from_masks"]

ENDINGS = (".png", ".tif", ".tiff", ".bmp", ".gif", ".npy")

Folders = tuple[str | os.PathLike, str | os.PathLike]


def from_masks(
    images: str | os.PathLike,
    masks: str | os.PathLike,
    *,
    classes: Sequence[str] | Mapping[str, Any] | None = None,
    ignored: int | tuple[int, int, int] | None = 255,
    suffix: str = "",
    test: float | Folders | None = None,
    validation: float | Folders | None = reading.VALIDATION,
    image_size: int | tuple[int, int] = 224,
    channels: int = 3,
    batch_size: int = 32,
    seed: int = 0,
    corrupt: str = "error",
    cache: str = "auto",
) -> base.Data:
    """Reads pictures with a mask each, which has the name of its picture but for the ending.

    Masks are PNG (palette, grey or colours), TIFF, BMP, GIF or .npy files of the size of their picture. Where both
    folders hold "train", and perhaps "val" and "test", these are the splits. Pictures without a mask are left out.

    Args:
        images: The folder of pictures, at any depth.
        masks: The folder of masks, in the same subfolders.
        classes: Names, whose place is the value in the file; or a dict from the name to the value, or to the colour
            `(red, green, blue)`. By default the values that occur, which must be 0, 1, 2 ….
        ignored: The value or colour of pixels that do not count, or None.
        suffix: What follows the name of the picture in that of its mask, such as "_mask".
        test: Share of the pictures to hold out for testing, or `(images, masks)`.
        validation: Share of the pictures to hold out for validation, or `(images, masks)`.
        image_size: As for `kt.data.from_folder`; masks are resized to it by the nearest pixel.
        channels: As for `kt.data.from_folder`.
        batch_size: Pictures in a batch.
        seed: Equal seeds give equal splits and orders.
        corrupt: "error" refuses files that cannot be read, and masks with unknown values or of another size; "skip"
            leaves these pictures out; both name them.
        cache: As for `kt.data.from_folder`.

    Returns:
        The batches; targets are masks.

    Raises:
        InputError: If files cannot be read, a mask has no picture, or values are not among the classes.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> root = Path(tempfile.mkdtemp())
        >>> (root / "photos").mkdir(), (root / "masks").mkdir()
        (None, None)
        >>> mask = Image.fromarray(np.eye(12, 16, dtype="uint8"))
        >>> for number in range(3):
        ...     Image.new("RGB", (16, 12), (50 * number, 0, 0)).save(root / "photos" / f"{number}.png")
        ...     mask.save(root / "masks" / f"{number}.png")
        >>> from_masks(root / "photos", root / "masks", classes=["sky", "bird"], image_size=8)
        keras_transfer: 3 images and their targets are resized to 8x8 pixels and kept in memory (0.0 MB)...
        Data(train=2, validation=1, classes=2, image_size=8x8, batch_size=32)
    """
    options = reading.Options(image_size, channels, batch_size, seed, corrupt, cache)
    if not isinstance(suffix, str):
        raise checks.error("`suffix` must be a text", given=repr(suffix))
    pictures, others = listing.folder_of(images, "images"), listing.folder_of(masks, "masks")
    folders, shares = _find_folders(pictures, others, validation, test)

    notes: list[str] = []
    pairs: list[matching.Pair] = []
    splits: list[str] = []
    for split, (inside, beside) in folders.items():
        found = matching.match(inside, beside, ENDINGS, notes, what="mask", suffix=suffix)
        if len(folders) > 1:
            found = [pair._replace(name=f"{inside.name}/{pair.name}") for pair in found]
        pairs += found
        splits += [split] * len(found)
    listed = reading.Listed(
        where=f"'{images}'",
        paths=[pair.image for pair in pairs],
        names=[pair.name for pair in pairs],
        labels=[str(pair.annotation) for pair in pairs],
        splits=np.array(splits, object),
        shown=[pair.name for pair in pairs],
        kinds="mask",
        ignored={"": ignored},
    )
    return file_data.load(listed, options, shares, class_names=classes, notes=notes, folder=images)


def _find_folders(
    images: Path, masks: Path, validation: Any, test: Any
) -> tuple[dict[str, tuple[Path, Path]], dict[str, float | None]]:
    """Returns the folders of pictures and masks of each split, and the shares that are asked for."""
    folders = {"train": (images, masks)}
    inside, beside = matching.split_folders(images), matching.split_folders(masks)
    if inside and beside:
        if set(inside) != set(beside):
            given = f"{sorted(inside)} and {sorted(beside)}"
            raise checks.error("`images` and `masks` must hold the same splits", given=given)
        folders = {split: (inside[split], beside[split]) for split in inside}
    shares: dict[str, float | None] = {}
    for split, value in (("validation", validation), ("test", test)):
        if not isinstance(value, tuple | list):
            shares[split] = value
            continue
        if len(value) != 2:
            raise checks.error(f"`{split}` must be a share or (images, masks)", given=repr(value))
        if split in folders:
            given = f"{value[0]!r}, and the folder '{folders[split][0]}'"
            raise checks.error(f"`{split}` must not be given twice", given=given)
        folders[split] = listing.folder_of(value[0], split), listing.folder_of(value[1], split)
    return folders, shares
