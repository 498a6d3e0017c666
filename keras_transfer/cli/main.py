"""The table of commands, and what their ends mean to the shell."""

import argparse
import importlib
import os
import sys
import tempfile
from collections.abc import Sequence

import keras_transfer

__all__ = ["COMMANDS", "main", "run"]

# name: one line for --help. The command is in the module of that name: `add_arguments(parser)` and `main(arguments)`.
COMMANDS = {
    "demo": "the main job on data and a backbone that ship with the package, offline, about a minute",
    "train": "fine-tune a backbone on a folder of photos; writes model, SavedModel, report and run record",
    "evaluate": "measure a trained run on another folder",
    "predict": "label image files with a trained run",
    "features": "write what a backbone sees in images to a folder of arrays",
    "cache": "list what frozen layers gave in earlier runs and is kept on disk, or remove it",
    "export": "write a SavedModel of a trained run and verify it",
}


def parser() -> argparse.ArgumentParser:
    """Returns the parser of all commands; building it imports no command's needs."""
    top = argparse.ArgumentParser(prog="keras-transfer", description="Transfer learning for Keras.")
    top.add_argument(
        "--version", action="version", version=f"keras-transfer {keras_transfer.__version__}"
    )
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, line in COMMANDS.items():
        module = importlib.import_module(f"keras_transfer.cli.{name}")
        own = commands.add_parser(name, help=line, description=f"{line[0].upper()}{line[1:]}.")
        module.add_arguments(own)
        own.set_defaults(main=module.main)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code.

    0 means it worked, 2 that the user's input was wrong (one line on stderr says what), 1 anything else.

    Example:
        >>> main(["--version"])
        Traceback (most recent call last):
        SystemExit: 0
    """
    chosen = parser().parse_args(arguments)
    try:
        _load_quietly()
        return _run(chosen)
    except KeyboardInterrupt:
        print("\nkeras-transfer: interrupted; what was finished is kept", file=sys.stderr)
        return 1


def _run(chosen: argparse.Namespace) -> int:
    from keras_transfer.core import checks, optional

    try:
        chosen.main(chosen)
    except (checks.InputError, optional.MissingExtraError) as wrong:
        print(f"keras-transfer: {' '.join(str(wrong).split())}", file=sys.stderr)
        return 2
    except OSError as refused:
        print(f"keras-transfer: {' '.join(str(refused).split())}", file=sys.stderr)
        return 1
    return 0


def _load_quietly() -> None:
    """Imports TensorFlow without its start-up lines, which no log level silences; they are shown if it fails."""
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
    sys.exit(main())
