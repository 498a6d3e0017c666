"""How `keras-transfer train` resumes a run: the folder keeps the command's arguments until everything is written."""

import argparse
import contextlib
import json
import pathlib
import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from typing import NoReturn

__all__ = [
    "FILE",
    "STATE",
    "Stopped",
    "arguments_as_json",
    "command_line",
    "delete_resume_files",
    "is_begun",
    "read",
    "telling_how_to_resume",
    "write",
]

FILE = "command.json"
STATE = "state.npz"  # which kt.fine_tune writes after every epoch
CHANGEABLE = ("out", "overwrite", "resume", "quiet")  # may differ when the run is resumed


def arguments_as_json(arguments: argparse.Namespace) -> dict:
    """Returns the command's arguments as JSON would give them back."""
    values = {name: value for name, value in vars(arguments).items() if name != "command"}
    return json.loads(json.dumps(values, default=str))


def command_line(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> str:
    """Returns the command that trains the same again, with the options that are not what they are by default.

    Args:
        arguments: Of `train`.
        parser: The command's.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> _ = parser.add_argument("folder")
        >>> _ = parser.add_argument("--epochs", type=int, nargs="+")
        >>> command_line(parser.parse_args(["my photos", "--epochs", "2", "3"]), parser)
        "keras-transfer train 'my photos' --epochs 2 3"
    """
    words: list[str] = []
    options: list[str] = []
    values = arguments_as_json(arguments)
    for action in parser._actions:
        value = values.get(action.dest)
        default = json.loads(json.dumps(action.default, default=str))
        if action.dest in ("help", "overwrite", "resume") or value in (None, default):
            continue
        listed = [str(each) for each in (value if isinstance(value, list) else [value])]
        if not action.option_strings:
            words += listed
        elif isinstance(value, bool):
            options.append(action.option_strings[0 if value else -1])
        else:
            options += [action.option_strings[0], *listed]
    return shlex.join(["keras-transfer", "train", *words, *options])


def write(arguments: argparse.Namespace, *, trained: bool = False) -> None:
    """Writes the arguments into the run's folder, and whether its model is trained."""
    from keras_transfer.storage import files

    facts = {"arguments": arguments_as_json(arguments), "trained": trained}
    files.write_text(arguments.out / FILE, json.dumps(facts, indent=1) + "\n")


def delete_resume_files(out: pathlib.Path) -> None:
    """Deletes what a finished run does not need; `model.keras` has the best weights."""
    for name in (FILE, "best.npz"):
        (out / name).unlink(missing_ok=True)


def is_begun(out: pathlib.Path) -> bool:
    """Returns whether the folder has a run that was interrupted."""
    return (out / FILE).is_file()


def read(
    arguments: argparse.Namespace, parser: argparse.ArgumentParser
) -> tuple[argparse.Namespace, bool]:
    """Returns the arguments of the interrupted run in the folder, and whether its model is trained.

    Args:
        arguments: Those of this call; one that is given must be as it was.
        parser: The command's, whose defaults tell which arguments were left out.
    """
    from keras_transfer.core import checks

    if not is_begun(arguments.out):
        expected, out = "--out must hold a run that was interrupted", repr(str(arguments.out))
        raise checks.error(expected, given=out, fix="Leave out --resume.")
    facts = json.loads((arguments.out / FILE).read_text(encoding="utf-8"))
    earlier = {name: value for name, value in facts["arguments"].items() if name not in CHANGEABLE}

    for name, value in arguments_as_json(arguments).items():
        default = json.loads(json.dumps(parser.get_default(name), default=str))
        before = earlier.get(name, default)
        if name not in CHANGEABLE and value not in (default, before):
            option = "FOLDER" if name == "folder" else f"--{name.replace('_', '-')}"
            expected = f"{option} must be as it was, {before!r}, or left out"
            raise checks.error(expected, given=repr(value))

    for name, value in earlier.items():
        if isinstance(value, list):  # JSON has no tuples
            earlier[name] = tuple(value)
    return argparse.Namespace(**{**vars(arguments), **earlier}), facts["trained"]


class Stopped(KeyboardInterrupt):
    """The system told the command to end (SIGTERM), as it does before it takes a machine away."""


@contextlib.contextmanager
def telling_how_to_resume(out: pathlib.Path) -> Iterator[None]:
    """Prints the command that resumes the run if Ctrl-C or SIGTERM ends the block."""
    # Only the main thread may handle signals.
    is_main = threading.current_thread() is threading.main_thread()
    former = signal.signal(signal.SIGTERM, _stop) if is_main else None
    try:
        yield
    except KeyboardInterrupt:
        if is_begun(out):
            command = shlex.join(["keras-transfer", "train", "--out", str(out), "--resume"])
            print(f"\nkeras-transfer: resume with: {command}", file=sys.stderr, end="")
        raise
    finally:
        if is_main:
            signal.signal(signal.SIGTERM, former)


def _stop(number: int, frame: object) -> NoReturn:
    from keras_transfer.core import processes

    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough
    processes.stop()
    raise Stopped
