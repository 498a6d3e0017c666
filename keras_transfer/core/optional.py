"""Packages that only some uses need."""

import importlib
import types

__all__ = ["MissingExtraError", "require"]


class MissingExtraError(ImportError):
    """A package is absent that an extra of this one brings."""


def require(module: str, *, extra: str, purpose: str) -> types.ModuleType:
    """Imports `module`, or says which extra of the package brings it.

    Args:
        module: Name to import.
        extra: The extra in `pip install "keras-transfer[extra]"`.
        purpose: What it is needed for, as the subject of a sentence.

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
