"""Two questions about a JAX program: does it call Python, and what is its key?

Its key is a hash of its equations, of the constants in it and of the shapes, at each input that has an influence. How
the Python was written that made the program, and what variables are called, does not matter.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jax.extend import core
from jax.interpreters import partial_eval

from keras_transfer.training.cache import keys

__all__ = ["find_python_call", "hash_program", "used_inputs"]

# Names and functions that say how a program was made, or how it is differentiated, not what it computes.
NEUTRAL = re.compile(r"name|debug_info|.*(thunk|rule|fun|fwd|bwd)|inline|keep_unused|ctx_mesh")
ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def find_python_call(program: core.ClosedJaxpr) -> str | None:
    """Returns the type of the first operation that calls Python or has another effect, or None."""
    for equation in _equations(program.jaxpr):
        name = str(equation.primitive)
        if "callback" in name or equation.effects:
            return name
    return None


def used_inputs(program: core.ClosedJaxpr) -> list[bool]:
    """Returns for each input whether the outputs depend on it."""
    jaxpr = program.jaxpr
    return list(partial_eval.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))[1])


def hash_program(program: core.ClosedJaxpr) -> str:
    """Returns a hash of what a program computes."""
    jaxpr, _ = partial_eval.dce_jaxpr(program.jaxpr, [True] * len(program.jaxpr.outvars), True)
    names: dict[Any, str] = {}
    for variable, value in zip(jaxpr.constvars, program.consts, strict=True):
        names[variable] = keys.hash_array(np.asarray(value))
    return _hash_jaxpr(jaxpr, names)


def _equations(jaxpr: core.Jaxpr) -> Iterator[core.JaxprEqn]:
    """Yields all equations of a program, those of its functions, branches and loops included."""
    for equation in jaxpr.eqns:
        yield equation
        for inner in core.jaxprs_in_params(equation.params):
            yield from _equations(inner)


def _hash_jaxpr(jaxpr: core.Jaxpr, names: dict[Any, str]) -> str:
    """Returns a hash of a program; `names` has that of each constant and is filled with those of what it computes."""
    for place, variable in enumerate(jaxpr.invars):
        names[variable] = f"input {place} {variable.aval.str_short()}"
    for place, variable in enumerate(jaxpr.constvars):
        names.setdefault(variable, f"constant {place}")
    for equation in jaxpr.eqns:
        inputs = [_name(each, names) for each in equation.invars]
        made = hashlib.sha256("|".join([str(equation.primitive), *inputs]).encode())
        made.update(_hash_parameters(equation.params).encode())
        for place, variable in enumerate(equation.outvars):
            names[variable] = f"{made.hexdigest()} {place}"
    ends = [_name(each, names) for each in jaxpr.outvars]
    return hashlib.sha256("|".join(ends).encode()).hexdigest()


def _name(value: Any, names: Mapping[Any, str]) -> str:
    if isinstance(value, core.Literal):
        return f"literal {value.val!r} {value.aval.str_short()}"
    return names[value]


def _hash_parameters(parameters: Mapping[str, Any]) -> str:
    parts = []
    for name in sorted(parameters):
        if not NEUTRAL.fullmatch(name) or _programs_in(parameters[name]):
            parts.append(f"{name}={_hash_value(parameters[name])}")
    return "|".join(parts)


def _hash_value(value: Any) -> str:
    """Returns what a parameter says, with a hash in the place of each program or array."""
    if isinstance(value, core.ClosedJaxpr):
        consts = [keys.hash_array(np.asarray(each)) for each in value.consts]
        return _hash_jaxpr(value.jaxpr, dict(zip(value.jaxpr.constvars, consts, strict=True)))
    if isinstance(value, core.Jaxpr):
        return _hash_jaxpr(value, {})
    if isinstance(value, list | tuple):
        return f"[{', '.join(_hash_value(each) for each in value)}]"
    if isinstance(value, np.ndarray):
        return keys.hash_array(value)
    return ADDRESS.sub("", repr(value))


def _programs_in(value: Any) -> bool:
    parts: Sequence[Any] = value if isinstance(value, list | tuple) else [value]
    return any(isinstance(each, core.ClosedJaxpr | core.Jaxpr) for each in parts)
