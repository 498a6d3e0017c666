"""Options that several commands share, and the files of a run's folder."""

import argparse
import ast
import json
import pathlib

__all__ = [
    "add_backbone",
    "add_images",
    "add_run",
    "load_backbone",
    "load_run",
    "positive",
    "rate",
    "sides",
]


def positive(text: str) -> int:
    """A whole number of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {value}")
    return value


def rate(text: str) -> float | str:
    """A learning rate, or auto."""
    return text if text == "auto" else float(text)


def sides(text: str) -> int | tuple[int, int]:
    """One side, or HEIGHTxWIDTH."""
    height, times, width = text.partition("x")
    return (positive(height), positive(width)) if times else positive(height)


def add_images(parser: argparse.ArgumentParser) -> None:
    """Adds what every command that reads a folder of images takes."""
    parser.add_argument(
        "--batch-size", type=positive, default=32, metavar="N", help="images in a batch (32)"
    )
    parser.add_argument(
        "--skip-corrupt", action="store_true", help="leave out files that cannot be read"
    )


def add_backbone(parser: argparse.ArgumentParser) -> None:
    """Adds the network that a command builds."""
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
        "--channel-mode", metavar="MODE", help="filters of other channels: mean, tile or zero-extra"
    )
    parser.add_argument(
        "--backbone-argument",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="such as alpha=0.35; repeatable",
    )
    parser.add_argument(
        "--preprocess",
        metavar="MODE",
        help="what a network from a file expects: tf, torch, caffe, 0-1 or inside",
    )
    parser.add_argument(
        "--backbone-output", metavar="LAYER", help="where a network from a file ends"
    )
    parser.add_argument(
        "--trust-backbone", action="store_true", help="let code inside the network's file run"
    )


def load_backbone(arguments: argparse.Namespace) -> object:
    """Builds the network that the options name."""
    import keras_transfer as kt

    own = {
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
        **{
            name: value for name, value in own.items() if value
        },  # what was not given is kt.backbone's to decide
        **_pairs(arguments.backbone_argument),
    )


def _pairs(texts: list[str]) -> dict:
    """NAME=VALUE texts as a dict; values are Python's, or text."""
    from keras_transfer.core import checks

    found = {}
    for pair in texts:
        name, equals, text = pair.partition("=")
        if not equals:
            raise checks.error("--backbone-argument must be NAME=VALUE", given=repr(pair))
        try:
            found[name] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            found[name] = text
    return found


def add_run(parser: argparse.ArgumentParser) -> None:
    """Adds the trained run that a command works on."""
    parser.add_argument(
        "run", type=pathlib.Path, help="folder that `train` wrote, or a .keras file"
    )
    parser.add_argument("--trust", action="store_true", help="let code inside the model file run")


def load_run(arguments: argparse.Namespace) -> tuple[object, dict | None]:
    """Returns the model of a run and its record, None for a bare model file."""
    import keras_transfer as kt
    from keras_transfer.core import checks

    run = arguments.run
    file = run / "model.keras" if run.is_dir() else run
    if not file.is_file():
        raise checks.error(
            "RUN must be a folder that `train` wrote, or a .keras file", given=repr(str(run))
        )
    model = kt.load_model(file, trust=arguments.trust)
    record = run / "run.json"
    return model, json.loads(record.read_text(encoding="utf-8")) if record.is_file() else None
