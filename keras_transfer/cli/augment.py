"""`keras-transfer augment`: draws photos and random changes of them, to look at before training."""

import argparse
import os
import pathlib
import random
from typing import TYPE_CHECKING, Any

from keras_transfer.cli import options

if TYPE_CHECKING:
    import keras_transfer as kt

__all__ = ["add_arguments", "check", "main"]

PRESETS = ("light", "medium", "strong", "none")  # for --help, which loads nothing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    add = parser.add_argument
    images = "image files or folders, of which some are drawn at random"
    add("images", metavar="IMAGES", type=pathlib.Path, nargs="+", help=images)
    boxes = (
        "draw their boxes: a COCO file (.json), YOLO's data.yaml, or a folder of VOC files (.xml)"
    )
    add("--boxes", metavar="FILE|FOLDER", type=pathlib.Path, help=boxes)
    add(
        "--masks",
        metavar="FOLDER",
        type=pathlib.Path,
        help="draw their masks, files of the same names",
    )
    add("--preset", choices=PRESETS, default="medium", help="random changes (medium)")
    change = "one more change, such as mosaic=1 or rotation=0.1; may be repeated"
    add("--change", metavar="NAME=VALUE", action="append", default=[], help=change)
    add(
        "--out",
        metavar="FILE",
        type=pathlib.Path,
        default=pathlib.Path("augment.png"),
        help="a picture (augment.png)",
    )
    add("--overwrite", action="store_true", help="replace the file")
    add("--count", type=options.positive, default=6, metavar="N", help="photos (6)")
    add(
        "--image-size",
        type=options.sides,
        default=160,
        metavar="N|HxW",
        help="what photos are resized to (160)",
    )
    add("--seed", type=int, default=0, metavar="N", help="of choice and changes (0)")


def check(arguments: argparse.Namespace) -> None:
    """Raises an error if there are no images, a change is unknown, or the file cannot be written."""
    from keras_transfer.core import checks

    checks.integer(arguments.seed, name="seed", minimum=0, below=checks.SEEDS)
    options.image_files(arguments.images)
    options.pairs(arguments.change, option="--change")
    if arguments.boxes and arguments.masks:
        raise checks.error("only one of --boxes and --masks must be given", given="both")
    if (arguments.boxes or arguments.masks) and not _is_one_folder(arguments.images):
        given = " ".join(map(str, arguments.images))
        raise checks.error("IMAGES must be one folder with --boxes or --masks", given=given)
    if arguments.out.exists() and not arguments.overwrite:
        raise checks.error(
            "--out must be a new file", given=f"'{arguments.out}'", fix="Add --overwrite."
        )


def main(arguments: argparse.Namespace) -> None:
    """Draws the sheet: a row a photo, which stands first."""
    import keras_transfer as kt

    preset = {} if arguments.preset == "none" else kt.data.PRESETS[arguments.preset]
    asked = options.pairs(arguments.change, option="--change")
    changes = kt.data.Augment.of({**preset, **asked})

    has_targets = arguments.boxes or arguments.masks
    data = _load_with_targets(arguments) if has_targets else _load_photos(arguments)
    sheet = data.show("train", count=arguments.count, augment=changes, seed=arguments.seed)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(arguments.out)
    print(f"keras_transfer: wrote {arguments.out}: {changes!r}")


def _is_one_folder(paths: list[pathlib.Path]) -> bool:
    return len(paths) == 1 and paths[0].is_dir()


def _load_photos(arguments: argparse.Namespace) -> "kt.data.Data":
    """Returns some photos, with their names as labels."""
    import keras_transfer as kt

    files = options.image_files(arguments.images)
    chosen = random.Random(arguments.seed).sample(files, min(arguments.count, len(files)))
    pixels = kt.data.load_images(chosen, arguments.image_size)
    tags = [[f"{number + 1}. {file.name}"] for number, file in enumerate(chosen)]
    return kt.data.from_arrays(pixels, tags, validation=None)


def _load_with_targets(arguments: argparse.Namespace) -> "kt.data.Data":
    """Returns a folder's photos with their boxes or masks, read when they are drawn."""
    import keras_transfer as kt

    images, boxes = arguments.images[0], arguments.boxes
    given: dict[str, Any] = {"image_size": arguments.image_size, "validation": None, "cache": "off"}
    if arguments.masks:
        return kt.data.from_masks(images, arguments.masks, **given)
    if boxes.suffix == ".json":
        return kt.data.from_coco(boxes, images=images, **given)
    if boxes.suffix in (".yaml", ".yml"):
        return kt.data.from_yolo(boxes, **given)
    root = pathlib.Path(os.path.commonpath([images.resolve(), boxes.resolve()]))
    folders = [path.resolve().relative_to(root).as_posix() for path in (images, boxes)]
    return kt.data.from_voc(root, images=folders[0], annotations=folders[1], **given)
