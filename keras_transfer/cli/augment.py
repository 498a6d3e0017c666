"""`keras-transfer augment`: draws photos and random changes of them, to look at before training."""

import argparse
import pathlib
import random

from keras_transfer.cli import options

__all__ = ["add_arguments", "check", "main"]

PRESETS = ("light", "medium", "strong", "none")  # for --help, which loads nothing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    add = parser.add_argument
    images = "image files or folders, of which some are drawn at random"
    add("images", metavar="IMAGES", type=pathlib.Path, nargs="+", help=images)
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

    files = options.image_files(arguments.images)
    chosen = random.Random(arguments.seed).sample(files, min(arguments.count, len(files)))
    pixels = kt.data.load_images(chosen, arguments.image_size)
    names = [f"{number + 1}. {file.name}" for number, file in enumerate(chosen)]
    data = kt.data.from_arrays(pixels, names, validation=None, class_names=names)
    sheet = data.show("train", count=len(chosen), augment=changes, seed=arguments.seed)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(arguments.out)
    print(f"keras_transfer: wrote {arguments.out}: {changes!r}")
