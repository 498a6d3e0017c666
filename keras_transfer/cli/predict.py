"""`keras-transfer predict`: labels image files."""

import argparse
import json
import pathlib
from typing import TYPE_CHECKING, Any

from keras_transfer.cli import options

if TYPE_CHECKING:
    import keras

__all__ = ["add_arguments", "main"]

BATCH = 64  # images decoded and answered at a time


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    options.add_run(parser)
    parser.add_argument(
        "images", nargs="+", type=pathlib.Path, help="image files, or folders of them"
    )
    parser.add_argument(
        "--top", type=options.positive, default=3, metavar="N", help="how many classes to show (3)"
    )
    parser.add_argument(
        "--json", action="store_true", help="one JSON object a line instead of a table"
    )


def check(arguments: argparse.Namespace) -> None:
    """Raises an error if there is no run."""
    options.check_run(arguments)


def main(arguments: argparse.Namespace) -> None:
    """Prints a line for every image."""
    import keras_transfer as kt
    from keras_transfer.core import checks

    paths = _files(arguments.images)
    model, _ = options.load_run(arguments)
    if not kt.models.outputs(model):
        raise checks.error(
            "RUN must be a model of kt.build_model", given=f"{str(arguments.run)!r}, without tasks"
        )
    width = max(len(str(path)) for path in paths)
    for start in range(0, len(paths), BATCH):
        batch = paths[start : start + BATCH]
        height, width, channels = model.input_shape[1:]
        outputs = model.predict(
            kt.data.load_images(batch, (height, width), channels=channels), verbose=0
        )
        for row, path in enumerate(batch):
            answer = _answer(model, outputs, row, arguments.top)
            if arguments.json:
                print(json.dumps({"file": str(path), **answer}))
            else:
                print(f"{path!s:<{width}}  {_line(answer)}")


def _files(given: list[pathlib.Path]) -> list[pathlib.Path]:
    from keras_transfer.core import checks
    from keras_transfer.storage import images

    found = []
    for path in given:
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        found += (
            inside
            if not path.is_dir()
            else [file for file in inside if _is_image(file, images.EXTENSIONS)]
        )
    if not found:
        raise checks.error("there must be images to label", given=", ".join(map(str, given)))
    return found


def _is_image(file: pathlib.Path, extensions: tuple[str, ...]) -> bool:
    return file.suffix.lower() in extensions and not file.name.startswith(".")


def _answer(model: "keras.Model", outputs: Any, row: int, top: int) -> dict:
    """The answers of all tasks for one image, as JSON has them."""
    import keras_transfer as kt

    answers = {}
    for name, layer in kt.models.outputs(model).items():
        values = outputs[name] if isinstance(outputs, dict) else outputs
        answers[name] = layer.task.answer(values[row], top=top)
    return answers


def _line(answers: dict) -> str:
    parts = []
    for name, value in answers.items():
        if isinstance(value, dict):
            shown = [f"{label} {share:6.1%}" for label, share in value.items()] or ["none"]
        else:
            shown = [str(number) for number in value]
        prefix = f"{name}: " if len(answers) > 1 else ""
        parts.append(prefix + "   ".join(shown))
    return "   ".join(parts)
