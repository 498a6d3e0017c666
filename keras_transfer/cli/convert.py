"""`keras-transfer convert`: writes photos with their labels as records, files of many images each."""

import argparse
import pathlib

from keras_transfer.cli import options, sources

__all__ = ["add_arguments", "check", "main"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    add, kind = parser.add_argument, "SHARE|FOLDER"
    folder = "what `train` takes: a folder of class folders, a table, pictures with boxes or masks"
    add("folder", metavar="FOLDER", help=folder)
    add(
        "records",
        metavar="RECORDS",
        help="folder to write, or an address such as gs://bucket/records",
    )
    add("--overwrite", action="store_true", help="replace records that lie there")
    add("--test", metavar=kind, help="images to measure on (default: FOLDER/test, else none)")
    chosen = "images that choose the best epoch (default: FOLDER/val, else 0.2)"
    add("--validation", metavar=kind, default="0.2", help=chosen)
    size = "of the batches; the files stay as they are (224)"
    add("--image-size", type=options.sides, default=224, metavar="N|HxW", help=size)
    add("--channels", type=int, choices=(1, 3, 4), default=3, help="of the batches (3)")
    add("--seed", type=int, default=0, metavar="N", help="of splits and orders (0)")
    megabytes = "size of one file of records, about (128)"
    add("--megabytes", type=options.positive, default=128, metavar="N", help=megabytes)
    options.add_images(parser)
    sources.add_arguments(parser)


def check(arguments: argparse.Namespace) -> None:
    """Raises an error if FOLDER cannot be read, or RECORDS is a file or holds records already."""
    from keras_transfer.core import checks

    sources.check(arguments)
    if "://" in arguments.records:
        return
    records = pathlib.Path(arguments.records).expanduser()
    if records.is_file():
        raise checks.error("RECORDS must be a folder", given=f"the file '{records}'")
    if (records / sources.RECORDS).is_file() and not arguments.overwrite:
        given = f"'{records}', which holds records"
        raise checks.error("RECORDS must be a new folder", given=given, fix="Add --overwrite.")


def main(arguments: argparse.Namespace) -> None:
    """Reads the photos once, and writes them with their labels."""
    import keras_transfer as kt

    size = arguments.image_size
    height, width = size if isinstance(size, tuple) else (size, size)
    data = sources.load(arguments, (None, height, width, arguments.channels))
    kt.data.write_records(
        data, arguments.records, megabytes=arguments.megabytes, overwrite=arguments.overwrite
    )
