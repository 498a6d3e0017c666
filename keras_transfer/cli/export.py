"""`keras-transfer export`: writes a SavedModel of a trained run and verifies it."""

import argparse
import pathlib

from keras_transfer.cli import options

__all__ = ["SUFFIXES", "add_arguments", "check", "main"]

SUFFIXES = ("",)  # of kt.serving.FORMATS, which loads TensorFlow


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    options.add_run(parser)
    where = "folder to write, such as serving/photos/1"
    parser.add_argument("path", metavar="PATH", type=pathlib.Path, help=where)
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier export")
    parser.add_argument(
        "--answer-size",
        choices=("picture", "model"),
        default="picture",
        help="whether boxes and masks are in pixels of the picture that was given, or of the model's image",
    )
    explain = "add a signature that answers with heat maps: gradcam, layercam, ..."
    parser.add_argument("--explain", metavar="METHOD", help=explain)


def check(arguments: argparse.Namespace) -> None:
    """Raises an error if there is no run, no such format, or something at the export's place already."""
    from keras_transfer.core import checks

    options.check_run(arguments)
    if arguments.path.suffix not in SUFFIXES:
        expected = "PATH must be a folder: SavedModel is the only format so far"
        fix = f"Leave out {arguments.path.suffix!r}."
        raise checks.error(expected, given=repr(str(arguments.path)), fix=fix)
    if arguments.path.exists() and not arguments.overwrite:
        fix = "Choose the next version, or add --overwrite."
        raise checks.error("PATH must be new", given=repr(str(arguments.path)), fix=fix)


def main(arguments: argparse.Namespace) -> None:
    """Exports, then compares the export with the model on random images."""
    import keras_transfer as kt

    model, _ = options.load_run(arguments)
    kt.export(
        model,
        arguments.path,
        overwrite=arguments.overwrite,
        answer_size=arguments.answer_size,
        explain=arguments.explain,
    )
    kt.verify(arguments.path, model)
