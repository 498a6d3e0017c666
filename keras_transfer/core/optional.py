"""Packages that are imported only when needed: those of an extra, and heavy ones."""

import importlib
import importlib.util
import types
import warnings

__all__ = ["MissingExtraError", "check", "require"]


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
        raise _missing(module, extra, purpose) from missing


def check(module: str, *, extra: str | None = None, purpose: str) -> None:
    """Raises the error of `require` if a package is absent, without importing it.

    Example:
        >>> check("no_such", extra="none", purpose="Reading")
        Traceback (most recent call last):
        keras_transfer.core.optional.MissingExtraError: Reading needs the package `no_such`. Install it with: ...
    """
    if importlib.util.find_spec(module) is None:
        raise _missing(module, extra, purpose)


def _missing(module: str, extra: str | None, purpose: str) -> MissingExtraError:
    package = module.partition(".")[0].replace("_", "-")
    source = package if extra is None else f'"keras-transfer[{extra}]"'
    return MissingExtraError(
        f"{purpose} needs the package `{module}`. Install it with: pip install {source}."
    )
