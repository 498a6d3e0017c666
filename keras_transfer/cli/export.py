"""`keras-transfer export`: writes a SavedModel of a trained run and verifies it."""

import argparse
import pathlib

from keras_transfer.cli import options

__all__ = ["add_arguments", "main"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    options.add_run(parser)
    parser.add_argument("path", type=pathlib.Path, help="where to write, such as serving/photos/1")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier export")


def check(arguments: argparse.Namespace) -> None:
    """Raises an error if there is no run, or something at the export's place already."""
    from keras_transfer.core import checks

    options.check_run(arguments)
    if arguments.path.exists() and not arguments.overwrite:
        fix = "Choose the next version, or add --overwrite."
        raise checks.error("PATH must be new", given=repr(str(arguments.path)), fix=fix)


def main(arguments: argparse.Namespace) -> None:
    """Exports, then compares the export with the model on random images."""
    import keras_transfer as kt

    model, _ = options.load_run(arguments)
    kt.export(model, arguments.path, overwrite=arguments.overwrite)
    kt.verify(arguments.path, model)
