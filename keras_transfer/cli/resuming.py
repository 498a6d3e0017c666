"""How `keras-transfer train` goes on with a run: the folder keeps its arguments until everything is written."""

import argparse
import contextlib
import json
import pathlib
import shlex
import sys
from collections.abc import Iterator

__all__ = ["FILE", "STATE", "explained", "forget", "is_begun", "plain", "read", "write"]

FILE = "command.json"
STATE = "state.npz"  # which kt.fine_tune writes after every epoch
OWN = ("out", "overwrite", "resume", "quiet")  # may differ when the run goes on


def plain(arguments: argparse.Namespace) -> dict:
    """The command's arguments as JSON has them."""
    values = {
        name: value for name, value in vars(arguments).items() if name not in {"main", "command"}
    }
    return json.loads(json.dumps(values, default=str))


def write(arguments: argparse.Namespace, *, trained: bool = False) -> None:
    """Keeps the arguments in the run's folder, and whether its model is trained."""
    from keras_transfer.storage import files

    facts = {"arguments": plain(arguments), "trained": trained}
    files.write_text(arguments.out / FILE, json.dumps(facts, indent=1) + "\n")


def forget(out: pathlib.Path) -> None:
    """Removes what a run that is over has no more use for: model.keras has the best weights."""
    for name in (FILE, "best.npz"):
        (out / name).unlink(missing_ok=True)


def is_begun(out: pathlib.Path) -> bool:
    """Whether the folder has a run that was interrupted."""
    return (out / FILE).is_file()


def read(
    arguments: argparse.Namespace, parser: argparse.ArgumentParser
) -> tuple[argparse.Namespace, bool]:
    """Returns the arguments of the run in the folder, and whether its model is trained.

    Args:
        arguments: Those given now. What is given must be as it was.
        parser: Of the command, for what is meant where nothing is given.
    """
    from keras_transfer.core import checks

    if not is_begun(arguments.out):
        given = repr(str(arguments.out))
        raise checks.error(
            "--out must hold a run that was interrupted", given=given, fix="Leave out --resume."
        )
    facts = json.loads((arguments.out / FILE).read_text(encoding="utf-8"))
    then = {name: value for name, value in facts["arguments"].items() if name not in OWN}
    for name, value in plain(arguments).items():
        default = json.loads(json.dumps(parser.get_default(name), default=str))
        if name not in OWN and value not in (default, then.get(name, default)):
            option = "FOLDER" if name == "folder" else f"--{name.replace('_', '-')}"
            raise checks.error(
                f"{option} must be as it was, {then.get(name, default)!r}, or left out",
                given=repr(value),
            )
    then = {
        name: tuple(value) if isinstance(value, list) else value for name, value in then.items()
    }
    return argparse.Namespace(**{**vars(arguments), **then}), facts["trained"]


@contextlib.contextmanager
def explained(out: pathlib.Path) -> Iterator[None]:
    """Says how to go on when Ctrl-C ends the block."""
    try:
        yield
    except KeyboardInterrupt:
        if is_begun(out):
            command = shlex.join(["keras-transfer", "train", "--out", str(out), "--resume"])
            print(f"\nkeras-transfer: {command} goes on", file=sys.stderr, end="")
        raise
