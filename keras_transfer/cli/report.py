"""`keras-transfer report`: writes the report of a trained run again, or compares several runs on one page."""

import argparse
import json
import pathlib
from typing import TYPE_CHECKING

from keras_transfer.cli import evaluate, options, train

if TYPE_CHECKING:
    import keras

    import keras_transfer as kt

__all__ = ["add_arguments", "check", "main"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    options.add_run(parser)
    others = (
        "more runs to compare with; or one folder of images, one subfolder for each class, to measure on (default: "
        "what `train` measured on)"
    )
    parser.add_argument("others", metavar="RUN|FOLDER", nargs="*", type=pathlib.Path, help=others)
    page = "page of a comparison (comparison.html); .json for its numbers"
    parser.add_argument("--out", type=pathlib.Path, default="comparison.html", help=page)
    options.add_images(parser)


def check(arguments: argparse.Namespace) -> None:
    """Raises an error if there is no run, or no images to measure it on."""
    from keras_transfer.core import checks
    from keras_transfer.storage import listing

    if _is_comparison(arguments):
        checks.choice(arguments.out.suffix, (".html", ".json"), name="the ending of out")
        return
    options.check_run(arguments)
    if len(arguments.others) > 1:
        given = ", ".join(f"'{path}'" for path in arguments.others)
        fix = "To compare runs, name folders that `train` wrote."
        raise checks.error("FOLDER must be one folder of images", given=given, fix=fix)
    record = _read_record(arguments)
    folder = _images_folder(arguments) or record.get("command", {}).get("folder")
    if folder is None:
        given = f"'{arguments.run}', which `train` has not finished"
        raise checks.error("RUN must say what it was trained on", given=given, fix="Add FOLDER.")
    listing.folder_of(folder, "folder")


def main(arguments: argparse.Namespace) -> None:
    """Prints the report, and writes its page, its numbers, the model card and the pictures into the run's folder."""
    import keras_transfer as kt

    if _is_comparison(arguments):
        comparison = kt.compare_runs([arguments.run, *arguments.others])
        print(comparison)
        comparison.save(arguments.out)
        print(f"keras_transfer: wrote {arguments.out}")
        return
    model, _ = options.load_run(arguments)
    record = {**_read_record(arguments), "run_dir": str(arguments.run)}
    folder = _images_folder(arguments)
    if folder is None:
        data = _load_data_of_training(model, record)
    else:
        named = argparse.Namespace(**{**vars(arguments), "folder": folder})
        data = evaluate.load_data(named, model)
    report = kt.evaluate(model, data, history=record, explain="gradcam")
    print(report)
    kt.evaluation.illustrate(report, model, data)
    for name in train.save_report(report, arguments.run):
        print(f"keras_transfer: wrote {arguments.run / name}")


def _is_comparison(arguments: argparse.Namespace) -> bool:
    """Returns whether all that is named are runs, two or more."""
    others = arguments.others
    return bool(others) and all((path / "report.json").is_file() for path in others)


def _images_folder(arguments: argparse.Namespace) -> str | None:
    return str(arguments.others[0]) if arguments.others else None


def _read_record(arguments: argparse.Namespace) -> dict:
    from keras_transfer.core import checks

    file = arguments.run / "run.json"
    if not file.is_file():
        given = repr(str(arguments.run))
        raise checks.error("RUN must be a folder that `train` wrote, with run.json", given=given)
    return json.loads(file.read_text(encoding="utf-8"))


def _load_data_of_training(model: "keras.Model", record: dict) -> "kt.data.Data":
    """Returns the images of the run; raises an error if they are others now, whose splits would be others, too."""
    from keras_transfer.core import checks

    command = argparse.Namespace(**record["command"])
    data = train.load_data(command, model.input_shape)
    if data.digest != record["digest"]:
        given = f"{command.folder!r}, where files were added, changed or removed since"
        fix = "Name another FOLDER: of this one, images to measure on may have been trained on."
        raise checks.error("the images must be those that `train` read", given=given, fix=fix)
    return data
