"""Packages that come with an extra and are imported only when needed."""

import importlib
import types

__all__ = ["MissingExtraError", "require"]


class MissingExtraError(ImportError):
    """A package that comes with an extra is not installed."""


def require(module: str, *, extra: str, purpose: str) -> types.ModuleType:
    """Imports `module`, or raises an error that says which extra brings it.

    Args:
        module: Name to import.
        extra: The extra in `pip install "keras-transfer[extra]"`.
        purpose: What needs it, as the subject of a sentence.

    Raises:
        MissingExtraError: If the module is absent.

    Example:
        >>> require("json", extra="none", purpose="Reading JSON").__name__
        'json'
    """
    try:
        return importlib.import_module(module)
    except ImportError as missing:
        raise MissingExtraError(
            f'{purpose} needs the package `{module}`. Install it with: pip install "keras-transfer[{extra}]".'
        ) from missing
