"""`keras-transfer evaluate`: measures a trained run on another folder."""

import argparse
import pathlib
from typing import TYPE_CHECKING

from keras_transfer.cli import options

if TYPE_CHECKING:
    import keras

    import keras_transfer as kt

__all__ = ["add_arguments", "check", "load_data", "main"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    options.add_run(parser)
    folder = "one subfolder of images for each class; classes may be absent"
    parser.add_argument("folder", metavar="FOLDER", help=folder)
    parser.add_argument(
        "--out", type=pathlib.Path, metavar="FILE", help="also write the report: .html or .json"
    )
    parser.add_argument(
        "--at",
        metavar="POINT",
        help="tell thresholds for precision=0.95 (the default), say, or recall=0.9",
    )
    options.add_images(parser)


def check(arguments: argparse.Namespace) -> None:
    """Raises an error if there is no run or no folder, or --out is no report."""
    from keras_transfer.core import checks
    from keras_transfer.storage import listing

    options.check_run(arguments)
    listing.folder_of(arguments.folder, "folder")
    if arguments.out is not None and arguments.out.suffix.lower() not in (".html", ".json"):
        raise checks.error("--out must end in .html or .json", given=repr(str(arguments.out)))


def main(arguments: argparse.Namespace) -> None:
    """Prints the report."""
    import keras_transfer as kt

    model, record = options.load_run(arguments)
    report = kt.evaluate(model, load_data(arguments, model), history=record, at=arguments.at)
    print(report)
    if arguments.out is not None:
        report.save(arguments.out)


def load_data(arguments: argparse.Namespace, model: "keras.Model") -> "kt.data.Data":
    """Returns the images in FOLDER, labelled by the classes of the model."""
    import keras_transfer as kt

    return kt.data.labelled_folder(
        arguments.folder,
        _class_names(model),
        image_size=model.input_shape[1:3],
        channels=model.input_shape[3],
        batch_size=arguments.batch_size,
        corrupt="skip" if arguments.skip_corrupt else "error",
    )


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
