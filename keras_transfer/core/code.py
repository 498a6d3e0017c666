"""What the code of somebody's own layers uses, as far as it can be known without running it."""

import functools
import inspect
import pathlib
import sys
import types
from collections.abc import Callable, Iterator
from typing import NamedTuple

__all__ = ["Part", "is_known", "names", "parts", "unwrapped"]

KNOWN = ("keras", "keras_transfer", "builtins")  # packages whose code is known by their version
INSTALLED = ("site-packages", "dist-packages")


class Part(NamedTuple):
    """A function or a class.

    Attributes:
        code: Itself.
        values: What it sees, by name; modules, and functions and classes that are not followed, as their full names.
        uses: The functions and classes that it sees and that are followed; of a class, its bases and methods.
    """

    code: Callable
    values: dict[str, object]
    uses: dict[str, Callable]


def is_known(code: Callable) -> bool:
    """Whether a function or a class is of Keras, of this package or of Python itself.

    Example:
        >>> is_known(print), is_known(pathlib.Path)
        (True, False)
    """
    return _home(code) in KNOWN


def parts(code: Callable) -> list[Part]:
    """Returns a function or a class, and those that it uses, each once; for code that is known, nothing.

    Followed is what is not installed, in whatever module it stands, and for a class what is of its package.

    Example:
        >>> script = {"__name__": "__main__", "scale": 2}
        >>> exec("def twice(x): return scale * x", script)
        >>> exec("def use(x): return twice(x)", script)
        >>> [(part.code.__name__, part.values) for part in parts(script["use"])]
        [('use', {}), ('twice', {'scale': 2})]
    """
    code = unwrapped(code)
    home = _home(code) if inspect.isclass(code) else ""
    found: list[Part] = []
    waiting, seen = [code], set()
    while waiting:
        each = waiting.pop(0)
        if id(each) in seen or is_known(each):
            continue
        seen.add(id(each))
        part = Part(each, {}, {})
        found.append(part)
        if not _is_own(each, home):  # the first: a function of another package
            continue
        for name, value in sorted(_seen(each, home), key=lambda item: item[0]):
            value = unwrapped(value)
            if inspect.ismodule(value):
                part.values[name] = value.__name__
            elif not _is_code(value):
                part.values[name] = value
            elif _is_own(value, home):
                part.uses[name] = value
                waiting.append(value)
            elif not is_known(value) or not inspect.isclass(
                each
            ):  # Keras's layers have many methods
                part.values[name] = f"{getattr(value, '__module__', None)}.{value.__qualname__}"
    return found


def names(function: types.FunctionType) -> set[str]:
    """Returns the names of all globals, attributes and methods in a function, and in those that it defines.

    Example:
        >>> sorted(names(lambda x: [abs(y) for y in x.parts]))
        ['abs', 'parts']
    """
    return {name for each in _nested(function.__code__) for name in each.co_names}


def unwrapped(value: object) -> object:
    """Returns the function behind a method, a `functools.partial`, a `tf.function` or another decorator.

    Example:
        >>> unwrapped(functools.partial(unwrapped, 3)) is unwrapped
        True
    """
    for _ in range(20):  # as deep as anybody wraps
        if inspect.ismethod(value):
            value = value.__func__
        elif isinstance(value, functools.partial):
            value = value.func
        elif isinstance(value, staticmethod | classmethod) or "__wrapped__" in getattr(
            value, "__dict__", ()
        ):
            value = value.__wrapped__
        else:
            break
    return value


def _nested(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _nested(constant)


def _seen(code: Callable, home: str) -> Iterator[tuple[str, object]]:
    if inspect.isclass(code):
        return _of_class(code)
    return _of_function(code, home) if inspect.isfunction(code) else iter(())


def _of_class(kind: type) -> Iterator[tuple[str, object]]:
    """Bases, methods, those behind properties, too, and values that stand in the class."""
    yield from ((f"base {number}", base) for number, base in enumerate(kind.__mro__[1:]))
    for name, value in vars(kind).items():
        if isinstance(value, property):
            yield from (
                (f"{name} {at}", each)
                for at, each in (("get", value.fget), ("set", value.fset))
                if each
            )
        elif _is_code(unwrapped(value)) or not (
            name.startswith("_") or hasattr(type(value), "__get__")
        ):
            yield name, value


def _of_function(function: types.FunctionType, home: str) -> Iterator[tuple[str, object]]:
    """Globals, variables of enclosing functions, defaults, and what is used of modules."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # not set yet
            continue
    yield from (
        (f"default {number}", value) for number, value in enumerate(function.__defaults__ or ())
    )
    yield from (
        (f"default {name}", value) for name, value in (function.__kwdefaults__ or {}).items()
    )
    used = names(function)
    waiting = [(name, function.__globals__[name]) for name in used if name in function.__globals__]
    while waiting:
        name, value = waiting.pop()
        yield name, value
        if inspect.ismodule(value) and name.count(".") < 5 and _is_own(value, home):
            waiting += [
                (f"{name}.{each}", inside) for each, inside in vars(value).items() if each in used
            ]


def _is_code(value: object) -> bool:
    kinds = (
        types.FunctionType,
        types.BuiltinFunctionType,
        types.MethodDescriptorType,
        types.WrapperDescriptorType,
    )
    return isinstance(value, (type, *kinds))


def _module(code: object) -> str:
    """The module in which code was written, whatever a decorator says."""
    if inspect.ismodule(code):
        return code.__name__
    told = (
        code.__globals__.get("__name__")
        if inspect.isfunction(code)
        else getattr(code, "__module__", None)
    )
    return told if isinstance(told, str) else ""


def _home(code: object) -> str:
    return _module(code).partition(".")[0]


def _is_own(value: object, home: str) -> bool:
    """Whether a function, class or module is of the package `home`, or of none that is installed."""
    name = _home(value)
    if name in ("__main__", home):
        return bool(name)
    if not name or name in (*KNOWN, *sys.stdlib_module_names):
        return False
    file = getattr(sys.modules.get(_module(value)), "__file__", None)
    return file is None or not set(INSTALLED) & set(pathlib.Path(file).parts)
