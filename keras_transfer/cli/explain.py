"""`keras-transfer explain`: draws on image files what a trained model's answers stand on."""

import argparse
import pathlib

from keras_transfer.cli import options

__all__ = ["add_arguments", "check", "main"]

FOLDER = "explanations"  # in the run's folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    options.add_run(parser)
    add = parser.add_argument
    files = "image files, or folders of them"
    add("images", metavar="IMAGES", nargs="+", type=pathlib.Path, help=files)
    method = "gradcam (the default), layercam, integrated_gradients, occlusion, rise, ..."
    add("--method", default="gradcam", metavar="NAME", help=method)
    add("--task", metavar="NAME", help="which answer of a model of several tasks")
    add("--target", metavar="CLASS", help="name or number of a class; default: the likeliest one")
    add("--layer", metavar="LAYER", help="layer with the feature map; default: the trunk's end")
    out = f"folder for the pictures; default: {FOLDER} in the run's folder"
    add("--out", type=pathlib.Path, metavar="FOLDER", help=out)
    size = "images in a pass (32)"
    add("--batch-size", type=options.positive, default=32, metavar="N", help=size)


def check(arguments: argparse.Namespace) -> None:
    """Raises an error if there is no run, or there are no images."""
    options.check_run(arguments)
    options.image_files(arguments.images)


def main(arguments: argparse.Namespace) -> None:
    """Writes the pictures, and prints what was explained in each."""
    import keras_transfer as kt
    from keras_transfer.core import checks

    paths = options.image_files(arguments.images)
    model, _ = options.load_run(arguments)
    explanation = kt.explain(
        model,
        paths,
        method=arguments.method,
        task=arguments.task,
        target=arguments.target,
        layer=arguments.layer,
        batch_size=arguments.batch_size,
    )
    run = arguments.run if arguments.run.is_dir() else arguments.run.parent
    folder = arguments.out or run / FOLDER
    written = explanation.save(folder)
    print(explanation)
    count = "1 picture" if len(written) == 1 else f"{len(written)} pictures"
    checks.note(f"{count} in '{folder}'")
