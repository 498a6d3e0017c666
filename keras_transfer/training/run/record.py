"""The run record: what was asked, what was decided and why, what came out."""

import datetime
import json
import math
import os
import pathlib
import platform
from typing import Any

import keras
import numpy as np
import yaml

from keras_transfer.core import checks
from keras_transfer.machine import energy, engine, kernels
from keras_transfer.storage import files

__all__ = ["Record", "plain"]

ARGUMENTS = "args.yaml"  # beside run.json, what a person would look up first


class Record:
    """Collects a run's facts, keeps `run.json` up to date, and writes what was asked for into `args.yaml`.

    Args:
        arguments: What the user asked for.
        folder: Where `run.json` goes, or None to keep the record in memory only.
        quiet: Whether notes are recorded without being printed.

    Example:
        >>> record = Record({"epochs": (1, 1)}, quiet=True)
        >>> record.note("nothing was skipped")
        >>> record.facts["notes"]
        ['nothing was skipped']
    """

    def __init__(
        self, arguments: dict, *, folder: str | os.PathLike | None = None, quiet: bool = False
    ) -> None:
        self.file = None if folder is None else pathlib.Path(folder) / "run.json"
        self._has_arguments = False
        self.quiet = quiet
        self.meter = energy.Meter()
        self.facts: dict[str, Any] = {
            "status": "running",
            "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "arguments": {name: plain(value) for name, value in arguments.items()},
            "versions": _versions(),
            "machine": {
                "processors": os.cpu_count(),
                "kernels": kernels.in_use(),
                "system": platform.system(),
                "python": platform.python_version(),
            },
            "notes": [],
            "stages": [],
        }

    @staticmethod
    def status(folder: str | os.PathLike) -> str | None:
        """Returns the status in a folder's `run.json`, None where there is none."""
        try:
            return json.loads((pathlib.Path(folder) / "run.json").read_text(encoding="utf-8")).get(
                "status"
            )
        except (OSError, ValueError, AttributeError):
            return None

    def note(self, text: str) -> None:
        """Records one decision, and prints it unless quiet."""
        self.facts["notes"].append(text if self.quiet else checks.note(text))

    def update(self, **facts: object) -> None:
        """Adds facts and writes the file."""
        self.facts.update({name: plain(value) for name, value in facts.items()})
        self.facts.update(self.meter.read())
        if self.file is None:
            return
        try:
            if not self._has_arguments:
                arguments = yaml.safe_dump(self.facts["arguments"], sort_keys=False)
                files.write_text(self.file.with_name(ARGUMENTS), arguments)
                self._has_arguments = True
            files.write_text(self.file, json.dumps(self.facts, indent=1, allow_nan=False) + "\n")
        except OSError as failed:
            checks.note(
                f"The run record could not be written to {self.file} ({failed}); training goes on."
            )


def _versions() -> dict:
    import keras_transfer

    return {
        "keras_transfer": keras_transfer.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
        engine.NAME: engine.version(),
    }


def plain(value: object) -> Any:
    """Turns a value into what JSON holds; a number that is not finite becomes None.

    Example:
        >>> plain({"rates": (np.float32(0.5), float("nan"))})
        {'rates': [0.5, None]}
    """
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool | None) else repr(value)
