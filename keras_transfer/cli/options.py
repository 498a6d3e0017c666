"""Options that several commands share, and the files of a run's folder."""

import argparse
import ast
import json
import pathlib
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from keras_transfer.cli import resuming

if TYPE_CHECKING:
    import keras

__all__ = [
    "add_backbone",
    "add_images",
    "add_run",
    "check_backbone",
    "check_photos",
    "check_run",
    "image_files",
    "load_backbone",
    "load_run",
    "pairs",
    "positive",
    "rate",
    "share_or_folder",
    "sides",
]

WEIGHTS = ("pretrained", "imagenet", "none")
Parser = argparse.ArgumentParser | argparse._ArgumentGroup


def positive(text: str) -> int:
    """Reads a whole number of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {value}")
    return value


def rate(text: str) -> float | str:
    """Reads a learning rate, or auto."""
    return text if text == "auto" else float(text)


def share_or_folder(text: str | None) -> float | str | None:
    """Reads a number as a share and anything else as a folder."""
    if text is None:
        return None
    try:
        return float(text) or None
    except ValueError:
        return text


def sides(text: str) -> int | tuple[int, int]:
    """Reads one side, or HEIGHTxWIDTH."""
    height, times, width = text.partition("x")
    return (positive(height), positive(width)) if times else positive(height)


def add_images(parser: Parser) -> None:
    """Adds the options of every command that reads a folder of images."""
    parser.add_argument(
        "--batch-size", type=positive, default=32, metavar="N", help="images in a batch (32)"
    )
    parser.add_argument(
        "--skip-corrupt", action="store_true", help="leave out files that cannot be read"
    )


def add_backbone(parser: Parser) -> None:
    """Adds the options of the network that a command builds."""
    parser.add_argument(
        "--backbone",
        default="MobileNetV2",
        metavar="NAME",
        help="MobileNetV2, ResNet50, tiny, a file or folder, ...",
    )
    parser.add_argument(
        "--weights", default="pretrained", help="pretrained, imagenet, none, or a weights file"
    )
    parser.add_argument(
        "--image-size", type=sides, metavar="N|HxW", help="default: the backbone's own"
    )
    parser.add_argument(
        "--channels", type=positive, metavar="N", help="1 for grey images, 4 for RGB and alpha (3)"
    )
    parser.add_argument(
        "--channel-mode",
        metavar="MODE",
        help="how the first filters fit other channels: mean, tile or zero-extra",
    )
    parser.add_argument(
        "--backbone-argument",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="such as alpha=0.35; may be repeated",
    )
    parser.add_argument(
        "--preprocess",
        metavar="MODE",
        help="preprocessing that a network from a file expects: tf, torch, caffe, 0-1 or inside",
    )
    parser.add_argument(
        "--backbone-output", metavar="LAYER", help="last layer to use of a network from a file"
    )
    parser.add_argument(
        "--precision",
        choices=("float32", "mixed_bfloat16", "mixed_float16"),
        help="in which the network computes: a mixed one is quicker on TPUs and GPUs (float32)",
    )
    parser.add_argument(
        "--trust-backbone", action="store_true", help="allow code inside the network's file to run"
    )


def load_backbone(arguments: argparse.Namespace) -> "keras.Model":
    """Builds the network that the options name."""
    import keras_transfer as kt

    chosen = {
        "channels": arguments.channels,
        "channel_mode": arguments.channel_mode,
        "preprocess": arguments.preprocess,
        "precision": arguments.precision,
        "output": arguments.backbone_output,
        "trust": arguments.trust_backbone,
    }
    return kt.backbone(
        arguments.backbone,
        weights=None if arguments.weights == "none" else arguments.weights,
        image_size=arguments.image_size,
        **{name: value for name, value in chosen.items() if value},  # kt.backbone decides the rest
        **pairs(arguments.backbone_argument, option="--backbone-argument"),
    )


def pairs(texts: list[str], *, option: str) -> dict:
    """Returns NAME=VALUE texts of an option as a dict; values that are not Python's stay text."""
    from keras_transfer.core import checks

    values = {}
    for pair in texts:
        name, equals, text = pair.partition("=")
        if not equals:
            raise checks.error(f"{option} must be NAME=VALUE", given=repr(pair))
        try:
            values[name] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            values[name] = text
    return values


def add_run(parser: Parser) -> None:
    """Adds the trained run that a command works on."""
    parser.add_argument(
        "run", metavar="RUN", type=pathlib.Path, help="folder that `train` wrote, or a .keras file"
    )
    parser.add_argument(
        "--trust", action="store_true", help="allow code inside the model file to run"
    )


def check_run(arguments: argparse.Namespace) -> pathlib.Path:
    """Returns the model file of the run, or raises an error if there is none."""
    from keras_transfer.core import checks

    run: pathlib.Path = arguments.run
    file = run / "model.keras" if run.is_dir() else run
    if not file.is_file() and resuming.is_begun(run):
        expected = "RUN must be a folder whose training has finished"
        fix = f"Finish it with: keras-transfer train --out {shlex.quote(str(run))} --resume"
        raise checks.error(expected, given=f"{str(run)!r}, which was interrupted", fix=fix)
    if not file.is_file():
        expected = "RUN must be a folder that `train` wrote, or a .keras file"
        raise checks.error(expected, given=repr(str(run)))
    return file


def check_backbone(arguments: argparse.Namespace) -> None:
    """Raises an error if the name of the backbone is unknown, or its file of weights does not exist."""
    import keras_transfer as kt
    from keras_transfer.core import checks, lookup

    name, weights = arguments.backbone, pathlib.Path(arguments.weights).expanduser()
    is_word = name.replace("_", "").replace("-", "").isalnum()  # no path, no address
    if is_word and not pathlib.Path(name).exists():
        lookup.find(name, kt.backbones.CATALOGUE, argument="backbone")
    if arguments.weights not in WEIGHTS and not weights.is_file():
        expected = f"--weights must be {', '.join(WEIGHTS)} or an existing file"
        raise checks.error(expected, given=repr(arguments.weights))
    pairs(arguments.backbone_argument, option="--backbone-argument")


def check_photos(
    folder: str, *, test: float | str | None = None, validation: float | str | None = None
) -> None:
    """Raises an error if a folder of photos is not as `kt.data.from_folder` needs it; no image is read.

    Args:
        folder: To train on.
        test: A share, or a folder.
        validation: A share, or a folder.
    """
    from keras_transfer.core import checks
    from keras_transfer.storage import listing

    root = listing.folder_of(folder, "folder")
    class_names, _ = listing.list_classes(listing.find_splits(root).get("train", root))
    for name, value in {"test": test, "validation": validation}.items():
        if isinstance(value, str):
            listing.list_files(listing.folder_of(value, name), class_names, name=name)
        elif value is not None:
            checks.share(value, name=name)


def image_files(paths: Sequence[pathlib.Path]) -> list[pathlib.Path]:
    """Returns the files among `paths`, and the images in the folders among them."""
    from keras_transfer.core import checks
    from keras_transfer.storage import listing

    found: list[pathlib.Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(filter(listing.is_image, listing.walk(path)))
        elif path.is_file():
            found.append(path)
        else:
            raise checks.error(
                "`images` must be files or folders that exist", given=repr(str(path))
            )
    if not found:
        fix = f"Images end in {', '.join(listing.EXTENSIONS)}."
        given = f"none in {', '.join(map(str, paths))}"
        raise checks.error("`images` must hold an image", given=given, fix=fix)
    return found


def load_run(arguments: argparse.Namespace) -> tuple["keras.Model", dict | None]:
    """Returns the model of a run and its record, None for a model file without a run."""
    import keras_transfer as kt

    model = kt.load_model(check_run(arguments), trust=arguments.trust)
    record = arguments.run / "run.json"
    return model, json.loads(record.read_text(encoding="utf-8")) if record.is_file() else None
