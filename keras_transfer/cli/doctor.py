"""`keras-transfer doctor`: looks for problems of images, labels and a model before they cost a training run."""

import argparse
import contextlib
import pathlib
import sys
from typing import TextIO

from keras_transfer.cli import options, sources

__all__ = ["add_arguments", "check", "main"]

STDOUT = "-"
SHAPE = (None, 224, 224, 3)  # of images for no network
# What `sources.load` needs besides: everything is looked at, in the splits that it has.
AS_THEY_ARE = {"test": None, "validation": None, "batch_size": 32, "seed": 0, "skip_corrupt": True}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument(
        "folder",
        metavar="FOLDER",
        help="one subfolder of images for each class, or splits with them; or a table, boxes or masks as for train",
    )
    parser.add_argument(
        "--labels",
        action="store_true",
        help="look for wrong labels, by the features of a network (on with --backbone)",
    )
    parser.add_argument(
        "--json", metavar="FILE", help="write the findings with all files as JSON; - prints it"
    )
    parser.add_argument("--html", metavar="FILE", help="write the findings as a page with pictures")
    options.add_backbone(parser.add_argument_group("network"))
    sources.add_arguments(parser.add_argument_group("tables, boxes and masks"))
    parser.set_defaults(backbone=None, **AS_THEY_ARE)


def check(arguments: argparse.Namespace) -> None:
    """Raises an error if there is no such folder, or the backbone or the files to write cannot be used."""
    from keras_transfer.core import checks
    from keras_transfer.storage import listing

    if sources.recognise(arguments) == "folders":
        listing.folder_of(arguments.folder, "folder")  # what is wrong in it is a finding
    else:
        sources.check(arguments)
    if arguments.backbone is not None:
        options.check_backbone(arguments)
    for name, ending in (("json", ".json"), ("html", ".html")):
        file = getattr(arguments, name)
        is_stdout = name == "json" and file == STDOUT
        if file is not None and not is_stdout and pathlib.Path(file).suffix.lower() != ending:
            raise checks.error(f"--{name} must end in {ending}", given=repr(file))


def main(arguments: argparse.Namespace) -> int:
    """Prints the findings, or nothing but their JSON; returns 2 if there are errors among them."""
    stdout = sys.stdout
    with contextlib.redirect_stdout(sys.stderr if arguments.json == STDOUT else stdout):
        return _examine(arguments, stdout)


def _examine(arguments: argparse.Namespace, stdout: TextIO) -> int:
    import keras_transfer as kt

    backbone = None if arguments.backbone is None else options.load_backbone(arguments)
    data = arguments.folder
    if sources.recognise(arguments) != "folders":
        data = sources.load(arguments, SHAPE if backbone is None else backbone.input_shape)
    subjects = (data,) if backbone is None else (backbone, data)
    findings = kt.doctor(*subjects, labels=True if arguments.labels else None)

    if arguments.json == STDOUT:
        print(findings.to_json(), file=stdout)
    else:
        print(findings)
    for file in (arguments.json, arguments.html):
        if file is not None and file != STDOUT:
            findings.save(file)
            print(f"keras_transfer: wrote {file}")
    return 2 if findings.errors else 0
