"""What in a traced training step a TPU cannot run, in plain words and with the layer it is in."""

import pathlib
import re
import sys
from collections.abc import Iterator
from typing import Any  # JAX has no types here

import keras

__all__ = ["FAILURES", "explain_failure", "find"]

# What tracing raises, by JAX or by the code that is traced.
FAILURES = (
    TypeError, ValueError, LookupError, AttributeError, RuntimeError, NotImplementedError,
)  # fmt: skip
CALLBACKS = {"pure_callback", "io_callback", "debug_callback", "debug_print"}
# Errors of JAX by their names: what they mean, and what helps.
KNOWN_SHAPES = "Use shapes that are known when the model is built."
MEANINGS = {
    "NonConcreteBooleanIndexError": (
        "a shape depends on values, as in x[mask],",
        "Multiply by the mask, or use keras.ops.where.",
    ),
    "TracerBoolConversionError": (
        "a Python `if` or `while` depends on values",
        "Use keras.ops.where or keras.ops.cond.",
    ),
    "TracerIntegerConversionError": (
        "a shape or an index of Python depends on values",
        KNOWN_SHAPES,
    ),
    "TracerArrayConversionError": (
        "NumPy or TensorFlow computes on the batch, outside of the program,",
        "Write it with keras.ops.",
    ),
    "ConcretizationTypeError": ("a shape or a number of Python depends on values", KNOWN_SHAPES),
}
# Whose lines are not the user's: what computes, and what calls the user's layers.
ARITHMETIC = ("jax", "jaxlib", "numpy", "tensorflow")
LAYERS = ("keras", "keras_transfer")
TRANSFORMS = {"jit", "jvp", "transpose", "vmap", "checkpoint", "remat", "custom_jvp", "custom_vjp"}


def find(jaxpr: Any) -> list[str]:
    """Returns each fault of a traced program once, with the first place where it is.

    Faults are calls to the host, which a TPU waits for in every step, and values of 64 bits.
    """
    found: dict[tuple[str, str], str] = {}
    for equation in _equations(jaxpr):
        name = equation.primitive.name
        place = _place(equation)
        if name in CALLBACKS:
            text = (
                f"a call to the host ({name}) {place}: a TPU waits for it in every step. Compute it with keras.ops, "
                "or before, in the data."
            )
            found.setdefault(("host", place), text)
        types = [str(getattr(variable.aval, "dtype", "")) for variable in equation.outvars]
        if "float64" in types:
            text = f"float64 values {place}: a TPU has none and imitates them slowly. Use float32."
            found.setdefault(("float64", _layer(equation)), text)
    return list(found.values())


def explain_failure(failed: Exception) -> str:
    """Says why a step cannot be traced, and where."""
    failures: list[BaseException] = [failed]
    while (cause := failures[-1].__context__) is not None:  # Keras raises another in its place
        failures.append(cause)
    place = _place_of_failure(failures[-1])
    for failure in failures:
        for kind in type(failure).__mro__:
            if kind.__name__ in MEANINGS:
                meaning, fix = MEANINGS[kind.__name__]
                return f"{meaning} {place}: a TPU runs one program with fixed shapes. {fix}"
    first = failures[-1]
    reason = " ".join(str(first).split())[:200]
    return f"the training step cannot be traced {place}: {type(first).__name__}, {reason}"


def _equations(jaxpr: Any) -> Iterator[Any]:
    """Walks through a program and the programs within it."""
    for equation in jaxpr.eqns:
        yield equation
        for value in equation.params.values():
            for part in value if isinstance(value, list | tuple) else [value]:
                inner = getattr(part, "jaxpr", part)
                if hasattr(inner, "eqns"):
                    yield from _equations(inner)


def _layer(equation: Any) -> str:
    """Returns the layer that an equation belongs to: Keras names JAX's scopes after its layers."""
    names = re.findall(r"[^()/]+", str(equation.source_info.name_stack))
    layers = [name for name in names if name not in TRANSFORMS]
    return layers[-1] if layers else ""


def _place(equation: Any) -> str:
    """Says where an equation comes from: its layer, and the line of the user's code that made it, if one did."""
    traceback = equation.source_info.traceback
    line = ""
    for frame in [] if traceback is None else traceback.frames:
        if _is_within(frame.file_name, ARITHMETIC):
            continue
        if not _is_within(frame.file_name, LAYERS):
            line = f" ({pathlib.Path(frame.file_name).name}:{frame.line_num})"
        break
    layer = _layer(equation)
    return f"in layer '{layer}'{line}" if layer else f"outside of all layers{line}"


def _place_of_failure(failed: BaseException) -> str:
    """Says in which layer, and at which line, something was raised."""
    layer, line = "", ""
    step = failed.__traceback__
    while step is not None:
        owner = step.tb_frame.f_locals.get("self")
        if isinstance(owner, keras.layers.Layer) and not isinstance(owner, keras.Model):
            layer = owner.name
        file = step.tb_frame.f_code.co_filename
        if layer and not _is_within(file, ARITHMETIC + LAYERS):
            line = f" ({pathlib.Path(file).name}:{step.tb_lineno})"
        step = step.tb_next
    return f"in layer '{layer}'{line}" if layer else "outside of all layers"


def _is_within(file: str, libraries: tuple[str, ...]) -> bool:
    """Whether a source file belongs to one of the libraries."""
    folders = [
        pathlib.Path(sys.modules[name].__file__ or "").parent
        for name in libraries
        if name in sys.modules
    ]
    return file.startswith("<") or any(pathlib.Path(file).is_relative_to(each) for each in folders)
