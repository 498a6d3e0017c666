"""`keras-transfer doctor`: looks for problems of images, labels and a model before they cost a training run."""

import argparse
import contextlib
import pathlib
import sys
from typing import TextIO

from keras_transfer.cli import options

__all__ = ["add_arguments", "check", "main"]

STDOUT = "-"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument(
        "folder",
        metavar="FOLDER",
        help="one subfolder of images for each class, or folders of splits with them",
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
    parser.set_defaults(backbone=None)


def check(arguments: argparse.Namespace) -> None:
    """Raises an error if there is no such folder, or the backbone or the files to write cannot be used."""
    from keras_transfer.core import checks
    from keras_transfer.storage import listing

    listing.folder_of(arguments.folder, "folder")
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

    labels = True if arguments.labels else None
    if arguments.backbone is None:
        findings = kt.doctor(arguments.folder, labels=labels)
    else:
        findings = kt.doctor(options.load_backbone(arguments), arguments.folder, labels=labels)

    if arguments.json == STDOUT:
        print(findings.to_json(), file=stdout)
    else:
        print(findings)
    for file in (arguments.json, arguments.html):
        if file is not None and file != STDOUT:
            findings.save(file)
            print(f"keras_transfer: wrote {file}")
    return 2 if findings.errors else 0
