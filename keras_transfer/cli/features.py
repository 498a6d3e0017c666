"""`keras-transfer features`: computes a backbone's features of images and saves them as arrays."""

import argparse
import pathlib

from keras_transfer.cli import options

__all__ = ["FINISHED", "add_arguments", "check", "main"]

FINISHED = "features.json"  # in a folder of features


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument(
        "images",
        metavar="IMAGES",
        type=pathlib.Path,
        nargs="+",
        help="image files or folders; subfolders of a single folder are classes",
    )
    parser.add_argument(
        "--out",
        required=True,
        type=pathlib.Path,
        help="folder for the arrays; read them with kt.features.load",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the features of an earlier extraction"
    )
    parser.add_argument(
        "--layers",
        nargs="+",
        metavar="LAYER",
        help="paths, patterns or levels such as P4 (the last feature map)",
    )
    parser.add_argument(
        "--pooling", choices=("avg", "max", "concat"), help="over each feature map (none)"
    )
    parser.add_argument(
        "--dtype", default="float32", choices=("float32", "float16"), help="(float32)"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    options.add_images(parser)
    options.add_backbone(parser.add_argument_group("model"))


def check(arguments: argparse.Namespace) -> None:
    """Raises an error if there are no images, or the backbone or --out cannot be used."""
    from keras_transfer.core import checks

    options.image_files(arguments.images)
    options.check_backbone(arguments)
    if (arguments.out / FINISHED).is_file() and not arguments.overwrite:
        given = f"'{arguments.out}', which holds features"
        raise checks.error("--out must be a new folder", given=given, fix="Add --overwrite.")


def main(arguments: argparse.Namespace) -> None:
    """Extracts the features and prints the shape of each array."""
    import keras_transfer as kt

    images = arguments.images
    features = kt.features.extract(
        options.load_backbone(arguments),
        images[0] if len(images) == 1 else images,
        layers=arguments.layers,
        pooling=arguments.pooling,
        batch_size=arguments.batch_size,
        to=arguments.out,
        overwrite=arguments.overwrite,
        dtype=arguments.dtype,
        corrupt="skip" if arguments.skip_corrupt else "error",
        verbose=2 if arguments.quiet else "auto",
    )
    for path, array in features.items():
        print(f"{path}  {' x '.join(map(str, array.shape))}  {array.dtype}")
    if features.class_names is not None:
        print(f"classes: {', '.join(features.class_names)}")
