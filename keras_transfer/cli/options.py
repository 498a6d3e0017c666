"""Options that several commands share, and the files of a run's folder."""

import argparse
import json
import pathlib

__all__ = ["add_images", "add_run", "load_run", "positive", "sides"]


def positive(text: str) -> int:
    """A whole number of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {value}")
    return value


def sides(text: str) -> int | tuple[int, int]:
    """One side, or HEIGHTxWIDTH."""
    height, times, width = text.partition("x")
    return (positive(height), positive(width)) if times else positive(height)


def add_images(parser: argparse.ArgumentParser) -> None:
    """Adds what every command that reads a folder of images takes."""
    parser.add_argument("--batch-size", type=positive, default=32, metavar="N", help="images in a batch (32)")
    parser.add_argument("--skip-corrupt", action="store_true", help="leave out files that cannot be read")


def add_run(parser: argparse.ArgumentParser) -> None:
    """Adds the trained run that a command works on."""
    parser.add_argument("run", type=pathlib.Path, help="folder that `train` wrote, or a .keras file")
    parser.add_argument("--trust", action="store_true", help="let code inside the model file run")


def load_run(arguments: argparse.Namespace) -> tuple[object, dict | None]:
    """Returns the model of a run and its record, None for a bare model file."""
    import keras_transfer as kt
    from keras_transfer.core import checks

    run = arguments.run
    file = run / "model.keras" if run.is_dir() else run
    if not file.is_file():
        raise checks.error("RUN must be a folder that `train` wrote, or a .keras file", given=repr(str(run)))
    model = kt.load_model(file, trust=arguments.trust)
    record = run / "run.json"
    return model, json.loads(record.read_text(encoding="utf-8")) if record.is_file() else None
