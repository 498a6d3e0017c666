"""`keras-transfer train --engine ray --workers N`: the same command on several workers."""

import argparse
import functools
import os
import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from keras_transfer.cli import resuming

if TYPE_CHECKING:
    import keras_transfer as kt

__all__ = ["check", "run"]

PLACES = ("folder", "root", "images", "masks", "weights", "backbone", "test", "validation")


def check(arguments: argparse.Namespace) -> None:
    """Raises an error if the options for several workers do not fit together."""
    from keras_transfer.core import checks, optional

    if arguments.engine is None and arguments.workers is not None:
        fix = "Add --engine ray."
        raise checks.error("--workers must come with --engine", given=arguments.workers, fix=fix)
    if arguments.engine is None:
        return
    if arguments.workers is None:
        raise checks.error(
            "--engine needs a number of workers", given="none", fix="Add --workers 2."
        )
    if arguments.strategy not in (None, "multiworker"):
        fix = "Leave out --strategy."
        raise checks.error("workers train as 'multiworker'", given=arguments.strategy, fix=fix)
    optional.check("ray", extra="ray", purpose="--engine ray")


def run(arguments: argparse.Namespace, train: Callable) -> None:
    """Runs the command on all workers, and puts what the first one wrote into --out.

    Args:
        arguments: Of the command.
        train: Runs it in one process, with callbacks.
    """
    import keras_transfer as kt

    facts = {**vars(arguments), "engine": None, "workers": None, "strategy": "multiworker"}
    for name in PLACES:  # workers run in folders of their own
        value = facts.get(name)
        if isinstance(value, str | pathlib.Path) and os.path.exists(value):
            facts[name] = type(value)(os.path.abspath(value))
    resuming.write(arguments)
    trainer = kt.training.ray_trainer(
        functools.partial(_work, train, facts), workers=arguments.workers, run_dir=arguments.out
    )
    trainer.fit()
    resuming.delete_resume_files(arguments.out)
    names = ", ".join(sorted(path.name for path in arguments.out.iterdir()))
    print(f"keras_transfer: {arguments.out} holds {names}")


def _work(train: Callable, facts: dict[str, Any], worker: "kt.training.RayWorker") -> None:
    """Runs the command as one worker, from the start or from where the last group of workers was."""
    facts = {**facts, "out": worker.run_dir, "resume": worker.resume}
    train(argparse.Namespace(**facts), callbacks=worker.callbacks)
