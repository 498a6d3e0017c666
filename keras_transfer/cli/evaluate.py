"""`keras-transfer evaluate`: measures a trained run on another folder."""

import argparse
import pathlib
from typing import TYPE_CHECKING

from keras_transfer.cli import options

if TYPE_CHECKING:
    import keras

__all__ = ["add_arguments", "main"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    options.add_run(parser)
    parser.add_argument(
        "folder", help="one subfolder of images for each class; classes may be absent"
    )
    parser.add_argument(
        "--out", type=pathlib.Path, metavar="FILE", help="also write the report: .html or .json"
    )
    options.add_images(parser)


def check(arguments: argparse.Namespace) -> None:
    """Raises an error if there is no run or no folder."""
    options.check_run(arguments)
    options.check_folder(arguments.folder, name="FOLDER")


def main(arguments: argparse.Namespace) -> None:
    """Prints the report."""
    import keras_transfer as kt

    model, record = options.load_run(arguments)
    data = kt.data.labelled_folder(
        arguments.folder,
        _class_names(model),
        image_size=model.input_shape[1:3],
        channels=model.input_shape[3],
        batch_size=arguments.batch_size,
        corrupt="skip" if arguments.skip_corrupt else "error",
    )
    report = kt.evaluate(model, data, history=record)
    print(report)
    if arguments.out is not None:
        report.save(arguments.out)


def _class_names(model: "keras.Model") -> list[str]:
    import keras_transfer as kt
    from keras_transfer.core import checks

    # A folder for each class holds class ids: the targets that mixing makes distributions of.
    classified = [
        output.task
        for output in kt.models.outputs(model).values()
        if output.task.mixed_classes is not None
    ]
    if len(classified) != 1:
        raise checks.error(
            "RUN must be a model with one classification", given=f"{len(classified)} of them"
        )
    return classified[0].class_names
