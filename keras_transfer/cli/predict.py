"""`keras-transfer predict`: says what a trained model answers for image files, and draws it on them."""

import argparse
import contextlib
import json
import pathlib
import sys
from typing import TYPE_CHECKING, TextIO

from keras_transfer.cli import options

if TYPE_CHECKING:
    import keras_transfer as kt

__all__ = ["add_arguments", "main"]

BATCH = 64  # images decoded and answered at a time


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    options.add_run(parser)
    parser.add_argument(
        "images",
        metavar="IMAGES",
        nargs="+",
        type=pathlib.Path,
        help="image files, or folders of them",
    )
    parser.add_argument(
        "--top", type=options.positive, default=3, metavar="N", help="how many classes to show (3)"
    )
    parser.add_argument(
        "--json", action="store_true", help="one JSON object a line instead of a table"
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        type=pathlib.Path,
        help="write a table instead, batch by batch: .csv, .parquet or .jsonl",
    )
    parser.add_argument(
        "--pictures",
        metavar="FOLDER",
        type=pathlib.Path,
        help="write copies of the images with the boxes or masks on them",
    )


def check(arguments: argparse.Namespace) -> None:
    """Raises an error if there is no run, there are no images, or options exclude each other."""
    from keras_transfer.core import checks

    if arguments.out is not None and (arguments.json or arguments.pictures):
        raise checks.error("--out goes without --json and --pictures", given="both")
    options.check_run(arguments)
    options.image_files(arguments.images)


def main(arguments: argparse.Namespace) -> None:
    """Prints a line for every image, and nothing else to stdout: another program may read it."""
    answers = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        _predict(arguments, answers)


def _predict(arguments: argparse.Namespace, answers: TextIO) -> None:
    """Writes the answers."""
    import keras_transfer as kt
    from keras_transfer.core import checks

    paths = options.image_files(arguments.images)
    model, _ = options.load_run(arguments)
    if not kt.models.outputs(model):
        raise checks.error(
            "RUN must hold a model that `train` wrote",
            given=f"{str(arguments.run)!r}, without tasks",
        )
    if arguments.out is not None:
        images = kt.evaluation.predict_to_file(
            model, paths, arguments.out, top=arguments.top, batch_size=BATCH
        )
        checks.note(f"answers for {images:,} images in '{arguments.out}'")
        return
    predictions = kt.predict(model, paths, top=arguments.top, batch_size=BATCH)
    if arguments.pictures is not None:
        written = predictions.save_pictures(arguments.pictures)
        count = "1 picture" if len(written) == 1 else f"{len(written)} pictures"
        checks.note(f"{count} with answers in '{arguments.pictures}'")
    if not arguments.json:
        print(predictions, file=answers)
        return
    for row in predictions:
        print(json.dumps({"file": row["file"], **_answers(predictions, row)}), file=answers)


def _answers(predictions: "kt.evaluation.Predictions", row: dict) -> dict:
    """Returns the answers of all tasks for one image: probabilities by name, numbers, or boxes."""
    answers: dict = {}
    for name in predictions.tasks:
        answer = predictions.of_task(row, name)
        if "boxes" in answer:
            answers[name] = {key: answer[key] for key in ("boxes", "labels", "scores")}
            continue
        answers[name] = answer.get("probabilities", answer.get("value"))
        if isinstance(answers[name], float):
            answers[name] = [answers[name]]
    return answers
