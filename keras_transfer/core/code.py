"""What the code of somebody's own layers uses, as far as it can be known without running it."""

import inspect
import pathlib
import sys
import types
from collections.abc import Callable, Iterator
from typing import NamedTuple

__all__ = ["Part", "is_known", "is_method", "names", "parts"]

KNOWN = ("keras", "keras_transfer", "builtins")  # packages whose code is known by their version
INSTALLED = ("site-packages", "dist-packages")


class Part(NamedTuple):
    """A function or a class.

    Attributes:
        code: Itself.
        values: What it sees that is neither a function, a class nor a module, by name.
    """

    code: Callable
    values: dict[str, object]


def is_known(code: object) -> bool:
    """Whether code is of Keras, of this package or of Python itself.

    Example:
        >>> is_known(print), is_known(lambda: 0)
        (True, False)
    """
    return (getattr(code, "__module__", None) or "").partition(".")[0] in KNOWN


def is_method(function: types.FunctionType) -> bool:
    """Whether a function was defined in a class.

    Example:
        >>> is_method(pathlib.Path.exists), is_method(lambda: 0)
        (True, False)
    """
    where = function.__qualname__.rpartition(".")[0]
    return bool(where) and not where.endswith("<locals>")


def parts(code: Callable) -> list[Part]:
    """Returns a function or a class, and those that it uses, each once; for code that is known, nothing.

    Followed is what lies in the same package or is not installed: base classes, methods, functions that are called,
    within modules, too. What other packages hold appears among the values, by its name.

    Example:
        >>> scale = 2
        >>> def twice(x):
        ...     return scale * x
        >>> [(part.code.__name__, part.values) for part in parts(lambda x: twice(x))]
        [('<lambda>', {}), ('twice', {'scale': 2})]
    """
    home = (getattr(code, "__module__", None) or "").partition(".")[0]
    found: list[Part] = []
    waiting, seen = [code], set()
    while waiting:
        each = waiting.pop(0)
        if id(each) in seen or is_known(each):
            continue
        seen.add(id(each))
        values: dict[str, object] = {}
        if inspect.isclass(each):
            waiting += [*each.__mro__[1:], *_methods(each)]
        for name, value in sorted(_used(each, home)) if inspect.isfunction(each) else ():
            value = getattr(value, "__func__", value)  # of a method
            if not hasattr(value, "__qualname__"):
                values[name] = value
            elif (inspect.isfunction(value) or inspect.isclass(value)) and _is_own(value, home):
                waiting.append(value)
            else:
                values[name] = f"{value.__module__}.{value.__qualname__}"
        found.append(Part(each, values))
    return found


def names(function: types.FunctionType) -> set[str]:
    """Returns the names of all globals, attributes and methods in a function, and in those that it defines.

    Example:
        >>> sorted(names(lambda x: [abs(y) for y in x.parts]))
        ['abs', 'parts']
    """
    return {name for each in _nested(function.__code__) for name in each.co_names}


def _nested(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _nested(constant)


def _methods(kind: type) -> list[types.FunctionType]:
    """The functions of a class, those behind properties and class methods, too."""
    found = []
    for value in vars(kind).values():
        behind = [getattr(value, name, None) for name in ("__func__", "fget", "fset")]
        found += [each for each in (value, *behind) if inspect.isfunction(each)]
    return found


def _used(function: types.FunctionType, home: str) -> list[tuple[str, object]]:
    """What a function sees from outside: globals, variables of enclosing functions, defaults, and all in modules."""
    found: dict[str, object] = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # not set yet
            continue
    used = names(function)
    found |= {name: function.__globals__[name] for name in used if name in function.__globals__}
    found |= {f"default {number}": value for number, value in enumerate(function.__defaults__ or ())}
    found |= {f"default {name}": value for name, value in (function.__kwdefaults__ or {}).items()}
    for name, module in [item for item in found.items() if inspect.ismodule(item[1])]:
        found[name] = module.__name__
        if _is_own(module, home):
            inside = {f"{name}.{each}": getattr(module, each) for each in used if hasattr(module, each)}
            found |= {key: value.__name__ if inspect.ismodule(value) else value for key, value in inside.items()}
    return list(found.items())


def _is_own(value: object, home: str) -> bool:
    """Whether a function, class or module is of the package `home`, or of none that is installed."""
    name = value.__name__ if inspect.ismodule(value) else value.__module__ or ""
    if name.partition(".")[0] == home:
        return True
    file = getattr(sys.modules.get(name), "__file__", None)
    if file is None or name.partition(".")[0] in (*KNOWN, *sys.stdlib_module_names):
        return False
    return not set(INSTALLED) & set(pathlib.Path(file).parts)
