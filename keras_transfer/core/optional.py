"""Packages that are imported only when needed: those of an extra, and heavy ones."""

import importlib
import types
import warnings

__all__ = ["MissingExtraError", "require"]


class MissingExtraError(ImportError):
    """A package is not installed."""


def require(module: str, *, extra: str | None = None, purpose: str) -> types.ModuleType:
    """Imports `module`, or raises an error that says what to install.

    What it warns of while it is imported is not shown: a user of this package can do nothing about it.

    Args:
        module: Name to import.
        extra: The extra in `pip install "keras-transfer[extra]"`; None for a package that is installed with this one.
        purpose: What needs it, as the subject of a sentence.

    Raises:
        MissingExtraError: If the module is absent.

    Example:
        >>> require("json", extra="none", purpose="Reading JSON").__name__
        'json'
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(module)
    except ImportError as missing:
        package = module.partition(".")[0].replace("_", "-")
        source = package if extra is None else f'"keras-transfer[{extra}]"'
        raise MissingExtraError(
            f"{purpose} needs the package `{module}`. Install it with: pip install {source}."
        ) from missing
