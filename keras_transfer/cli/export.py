"""`keras-transfer export`: a SavedModel of a trained run, verified."""

import argparse
import pathlib

from keras_transfer.cli import options

__all__ = ["add_arguments", "main"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Says what the command takes."""
    options.add_run(parser)
    parser.add_argument("path", type=pathlib.Path, help="where to write, such as serving/photos/1")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier export")


def main(arguments: argparse.Namespace) -> None:
    """Exports, then compares the export with the model on random images."""
    import keras_transfer as kt

    model, _ = options.load_run(arguments)
    kt.export(model, arguments.path, overwrite=arguments.overwrite)
    kt.verify(arguments.path, model)
