"""Options that several commands share, and the files of a run's folder."""

import argparse
import ast
import json
import pathlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

__all__ = [
    "add_backbone",
    "add_images",
    "add_run",
    "check_folder",
    "check_run",
    "load_backbone",
    "load_run",
    "positive",
    "rate",
    "sides",
]

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
        "--trust-backbone", action="store_true", help="allow code inside the network's file to run"
    )


def load_backbone(arguments: argparse.Namespace) -> "keras.Model":
    """Builds the network that the options name."""
    import keras_transfer as kt

    chosen = {
        "channels": arguments.channels,
        "channel_mode": arguments.channel_mode,
        "preprocess": arguments.preprocess,
        "output": arguments.backbone_output,
        "trust": arguments.trust_backbone,
    }
    return kt.backbone(
        arguments.backbone,
        weights=None if arguments.weights == "none" else arguments.weights,
        image_size=arguments.image_size,
        **{name: value for name, value in chosen.items() if value},  # kt.backbone decides the rest
        **_pairs(arguments.backbone_argument),
    )


def _pairs(texts: list[str]) -> dict:
    """Returns NAME=VALUE texts as a dict; values that are not Python's stay text."""
    from keras_transfer.core import checks

    values = {}
    for pair in texts:
        name, equals, text = pair.partition("=")
        if not equals:
            raise checks.error("--backbone-argument must be NAME=VALUE", given=repr(pair))
        try:
            values[name] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            values[name] = text
    return values


def add_run(parser: Parser) -> None:
    """Adds the trained run that a command works on."""
    parser.add_argument(
        "run", type=pathlib.Path, help="folder that `train` wrote, or a .keras file"
    )
    parser.add_argument(
        "--trust", action="store_true", help="allow code inside the model file to run"
    )


def check_run(arguments: argparse.Namespace) -> pathlib.Path:
    """Returns the model file of the run, or raises an error if there is none."""
    from keras_transfer.core import checks

    run: pathlib.Path = arguments.run
    file = run / "model.keras" if run.is_dir() else run
    if not file.is_file():
        expected = "RUN must be a folder that `train` wrote, or a .keras file"
        raise checks.error(expected, given=repr(str(run)))
    return file


def check_folder(path: str, *, name: str) -> None:
    """Raises an error if there is no folder at `path`; `kt.data` checks what is in it."""
    from keras_transfer.core import checks, lookup

    folder = pathlib.Path(path).expanduser()
    if folder.exists():
        return
    neighbours = folder.parent.iterdir() if folder.parent.is_dir() else ()
    close = lookup.close(folder.name, [neighbour.name for neighbour in neighbours])
    fix = f"Close names there: {', '.join(map(repr, close))}." if close else "Check the path."
    raise checks.error(f"{name} must be a folder that exists", given=repr(path), fix=fix)


def load_run(arguments: argparse.Namespace) -> tuple["keras.Model", dict | None]:
    """Returns the model of a run and its record, None for a model file without a run."""
    import keras_transfer as kt

    model = kt.load_model(check_run(arguments), trust=arguments.trust)
    record = arguments.run / "run.json"
    return model, json.loads(record.read_text(encoding="utf-8")) if record.is_file() else None
