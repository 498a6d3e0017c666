"""The table of commands, and their exit codes."""

import argparse
import difflib
import functools
import importlib
import os
import sys
import tempfile
from collections.abc import Sequence
from typing import Any, NoReturn

import keras_transfer
from keras_transfer.cli import resuming, wording

__all__ = ["COMMANDS", "main", "run"]

# name: one line for --help. The module of that name has `add_arguments(parser)` and `main(arguments)`, which may return
# an exit code, and may have `check(arguments)`, which raises the errors that can be found before TensorFlow is loaded.
COMMANDS = {
    "demo": "show transfer learning on data and a backbone that come with the package, offline, in about a minute",
    "train": "fine-tune a backbone on photos, a table, boxes or masks; write the model, a SavedModel and a report",
    "auto": "find the best model for photos, a table, boxes or masks in the time that you give",
    "evaluate": "measure a trained model on another folder",
    "predict": "say what a trained model answers for image files: classes, numbers, boxes, masks",
    "explain": "draw on images what a trained model's answers stand on",
    "report": "write a run's report again, also on other images; or compare several runs",
    "convert": "write a folder of photos as records, files of many images each, for sets larger than memory",
    "features": "compute a backbone's features of images and save them as arrays",
    "cache": "list or delete the outputs of frozen layers that earlier runs stored on disk",
    "augment": "draw a sheet of photos and what random changes make of them, as training sees them",
    "compare": "train in several ways, over seeds: did the transfer help, and was it worth its time?",
    "rank": "rank pretrained networks for your photos, by their features, their size and short trainings",
    "doctor": "look for problems of images, labels and a model before they cost a training run",
    "export": "write a SavedModel of a trained model and check that it gives the same answers",
    "verify": "check on images of your own that a SavedModel gives the answers of its model",
}


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line; the usage of some commands fills a screen."""

    def error(self, message: str) -> NoReturn:
        """Prints what is wrong and where to read more, and exits with 2."""
        self.exit(2, f"keras-transfer: {message} (see {self.prog} --help)\n")


def parser() -> argparse.ArgumentParser:
    """Returns the parser of all commands; loads nothing that only a command needs."""
    top = Parser(prog="keras-transfer", description="Transfer learning for Keras.")
    version = f"keras-transfer {keras_transfer.__version__}"
    top.add_argument("--version", action="version", version=version)
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, line in COMMANDS.items():
        own = commands.add_parser(name, help=line, description=f"{line[0].upper()}{line[1:]}.")
        _module(name).add_arguments(own)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code.

    0 means it worked, 2 that the user's input was wrong (one line on stderr says what), 1 anything else.

    Example:
        >>> main(["--version"])
        Traceback (most recent call last):
        SystemExit: 0
    """
    chosen, unknown = parser().parse_known_args(arguments)
    if unknown:
        Parser(prog=f"keras-transfer {chosen.command}").error(
            f"unknown options: {' '.join(unknown)}{_hint(unknown[0], chosen)}"
        )
    try:
        return _run(chosen)
    except resuming.Stopped:
        print("\nkeras-transfer: told to stop; what was finished is kept", file=sys.stderr)
        return 0
    except KeyboardInterrupt:
        print("\nkeras-transfer: interrupted; what was finished is kept", file=sys.stderr)
        return 1


def _run(chosen: argparse.Namespace) -> int:
    from keras_transfer.core import checks, optional, processes

    command = _module(chosen.command)
    own = argparse.ArgumentParser()
    command.add_arguments(own)
    reword = functools.partial(wording.to_options, parser=own)
    try:
        if hasattr(command, "check"):
            command.check(chosen)
        _load_quietly()
        with checks.reworded(reword):
            code = command.main(chosen)
    except checks.InputError as wrong:
        print(f"keras-transfer: {_one_line(reword(str(wrong)))}", file=sys.stderr)
        return 2
    except optional.MissingExtraError as absent:
        # Not reworded: it speaks of a package, not of an option of that name.
        print(f"keras-transfer: {_one_line(str(absent))}", file=sys.stderr)
        return 2
    except (OSError, checks.ParityError, processes.WorkerLostError) as failed:
        print(f"keras-transfer: {_one_line(reword(str(failed)))}", file=sys.stderr)
        return 1
    return code or 0


def _hint(option: str, chosen: argparse.Namespace) -> str:
    """Returns the option of a command that an unknown one was meant to be, if one is close."""
    own = argparse.ArgumentParser()
    _module(chosen.command).add_arguments(own)
    name = option.partition("=")[0].replace("_", "-")
    close = difflib.get_close_matches(name, own._option_string_actions, n=1, cutoff=0.8)
    return f". Close: {close[0]}" if close else ""


def _module(name: str) -> Any:  # a module: its functions are told beside COMMANDS
    return importlib.import_module(f"keras_transfer.cli.{name}")


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _load_quietly() -> None:
    """Imports TensorFlow without its start-up lines, which no log level silences; shows them if the import fails."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            importlib.import_module("keras")
        except ImportError:
            kept.seek(0)
            os.write(terminal, kept.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)


def run() -> None:
    """The console script."""
    from keras_transfer.core import processes

    code = main()
    processes.leave(code)
    sys.exit(code)
