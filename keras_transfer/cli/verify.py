"""`keras-transfer verify`: compares a SavedModel with the model that it was exported from."""

import argparse
import pathlib

from keras_transfer.cli import options

__all__ = ["add_arguments", "check", "main"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    options.add_run(parser)
    where = "the SavedModel, such as RUN/export/1"
    parser.add_argument("path", metavar="PATH", type=pathlib.Path, help=where)
    images = "image files, or folders of them, labelled or not (default: random images)"
    parser.add_argument("images", metavar="IMAGES", nargs="*", type=pathlib.Path, help=images)
    largest = "largest difference of two numbers that is accepted (1e-4)"
    parser.add_argument("--tolerance", type=float, default=1e-4, metavar="NUMBER", help=largest)


def check(arguments: argparse.Namespace) -> None:
    """Raises an error if there is no run, no SavedModel or no images."""
    from keras_transfer.core import checks

    options.check_run(arguments)
    if not (arguments.path / "saved_model.pb").is_file():
        given = repr(str(arguments.path))
        raise checks.error("PATH must be a folder that `export` wrote", given=given)
    if arguments.images:
        options.image_files(arguments.images)
    checks.number(arguments.tolerance, name="tolerance", minimum=0)


def main(arguments: argparse.Namespace) -> None:
    """Prints how many images agree; the first difference is an error."""
    import keras_transfer as kt

    model, _ = options.load_run(arguments)
    images = (
        [str(file) for file in options.image_files(arguments.images)] if arguments.images else None
    )
    kt.verify(arguments.path, model, images, tolerance=arguments.tolerance)
