"""From the description of a network in an old Keras file to the functional model."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import NamedTuple

import keras

from keras_transfer.backbones.legacy import arithmetic, layers
from keras_transfer.backbones.legacy import values as legacy_values
from keras_transfer.backbones.legacy.weights import Leaf, Part
from keras_transfer.core import checks

__all__ = ["build", "layers_within", "malformed"]

_CONSTANT = "_CONSTANT_VALUE"


class _Reference(NamedTuple):
    """An output of a call of a layer."""

    layer: str
    call: int
    output: int


@dataclasses.dataclass
class _Member:
    """A layer or nested model; made at its first call, since a model may take its shape from there."""

    entry: dict
    made: object = None
    leaves: list[Leaf] = dataclasses.field(default_factory=list)

    @property
    def name(self) -> str:
        return _name_in_file(self.entry)


def malformed(what: str) -> checks.InputError:
    """Returns the error for a description that Keras does not write."""
    return checks.error("`source` must describe a Keras model", given=what, fix=layers.REBUILD)


def layers_within(entry: dict) -> Iterator[dict]:
    """Yields every layer of a model, those of nested models included."""
    for part in _members(entry):
        config = _config(part)
        if layers.is_model(part):
            yield from layers_within(part)
        elif isinstance(config, dict):
            yield part
        else:
            raise malformed(f"a layer whose configuration is a list: {str(part)[:60]}")


def build(
    entry: dict, *, keras_version: int, given: keras.KerasTensor | None = None
) -> tuple[keras.Model, list[Part]]:
    """Builds a model without its weights.

    Args:
        entry: The description, every layer of which `legacy_layers.check` let pass.
        keras_version: Major version of the Keras that wrote it.
        given: What a nested model is called on; its shape counts where the model names none.

    Returns:
        The model, and its layers with the names by which the file knows them, in the file's order.
    """
    config = _config(entry)
    functional = isinstance(config, dict) and "input_layers" in config
    make = _functional if functional else _sequential
    members, inputs, outputs = make(entry, keras_version, given)
    name = config.get("name") if isinstance(config, dict) else None
    try:
        model = keras.Model(inputs, outputs, name=_name(name))
    except layers.REFUSALS as refused:
        raise malformed(f"{name!r} ({layers.reason(refused)})") from refused
    return model, [Part(member.name, member.leaves) for member in members]


def _config(entry: object) -> dict | list:
    if not isinstance(entry, dict) or not isinstance(entry.get("config"), dict | list):
        raise malformed(f"a layer without configuration: {str(entry)[:60]}")
    return entry["config"]


def _members(entry: dict) -> list[dict]:
    """The layers of a model; a sequential one of Keras 1 is a bare list of them."""
    config = _config(entry)
    listed = config.get("layers") if isinstance(config, dict) else config
    if not isinstance(listed, list) or not listed:
        raise malformed(f"{layers.class_name(entry)} {_name_in_file(entry)!r} without layers")
    return listed


def _name_in_file(entry: dict) -> str:
    config = entry["config"]
    name = entry.get("name") or (config.get("name") if isinstance(config, dict) else None)
    return name if isinstance(name, str) else layers.class_name(entry).lower()


def _name(name: object) -> str | None:
    """Keras 3 allows no `/` in the name of a layer or model."""
    return name.replace("/", "_") if isinstance(name, str) else None


def _input(entry: dict) -> keras.KerasTensor:
    """The input that an InputLayer stands for, for any number of images."""
    config = entry["config"]
    shape = config.get("batch_input_shape") or config.get("batch_shape")
    dtype = legacy_values.dtype(config.get("dtype") or config.get("input_dtype"))
    return keras.Input(
        _shape(shape, entry),
        dtype=None if str(dtype).startswith("float") else dtype,
        name=_name(config.get("name")),
    )


def _shape(value: object, entry: dict) -> tuple[int | None, ...]:
    """Sizes without the batch's, which is never fixed."""
    sizes = legacy_values.plain(value, what="shape")
    if not isinstance(sizes, list) or not all(
        size is None or (isinstance(size, int) and size > 0) for size in sizes
    ):
        raise malformed(f"{_name_in_file(entry)!r} with input shape {value}")
    return tuple(sizes[1:])


def _sequential(entry: dict, keras_version: int, given: keras.KerasTensor | None) -> tuple:
    listed = _members(entry)
    if layers.class_name(listed[0]) == "InputLayer":
        inputs, listed = _input(listed[0]), listed[1:]
    else:
        inputs = keras.Input(_first_shape(entry, given))
    members, tensor = [_Member(part) for part in listed], inputs
    for member in members:
        tensor = _run(member, [tensor], {}, keras_version)
    return members, inputs, tensor


def _first_shape(entry: dict, given: keras.KerasTensor | None) -> tuple[int | None, ...]:
    """The input shape of a sequential model that does not begin with its input."""
    first, config = _members(entry)[0], entry["config"]
    own = first["config"].get("batch_input_shape") if isinstance(first["config"], dict) else None
    own = own or (config.get("build_input_shape") if isinstance(config, dict) else None)
    if own is not None:
        return _shape(own, entry)
    if given is not None:
        return tuple(given.shape[1:])
    if layers.is_model(first):
        inner = _members(first)[0]
        return (
            _input(inner).shape[1:]
            if layers.class_name(inner) == "InputLayer"
            else _first_shape(first, None)
        )
    raise checks.error(
        "`source` must say the shape of its input",
        given=f"{layers.class_name(entry)} {_name_in_file(entry)!r}, which was never built",
        fix=layers.REBUILD,
    )


def _functional(entry: dict, keras_version: int, given: keras.KerasTensor | None) -> tuple:
    members = {member.name: member for member in map(_Member, _members(entry))}
    calls, tensors = {}, {}
    for name, member in members.items():
        if layers.class_name(member.entry) == "InputLayer":
            tensors[name, 0] = [_input(member.entry)]
        else:
            nodes = member.entry.get("inbound_nodes")
            calls |= {
                (name, at): _call(node, members) for at, node in enumerate(_list(nodes, name))
            }
    ends = [
        _referring(entry["config"].get(key), members) for key in ("input_layers", "output_layers")
    ]
    first = _first_calls([*calls.values(), *ends])

    def resolved(structure: object) -> object:
        """The structure with tensors in the place of references; KeyError while one is not made."""
        return _replaced(
            structure, lambda ref: tensors[ref.layer, ref.call - first[ref.layer]][ref.output]
        )

    while calls:
        ready = {key for key, call in calls.items() if _is_made(call, tensors, first)}
        if not ready:
            raise malformed(f"layer {next(iter(calls))[0]!r} takes a tensor that no layer makes")
        for key in [key for key in calls if key in ready]:
            args, kwargs = resolved(calls.pop(key))
            tensors[key] = keras.tree.flatten(_run(members[key[0]], args, kwargs, keras_version))
    if not all(_is_made(end, tensors, first) for end in ends):
        raise malformed("inputs or outputs that no layer makes")
    return list(members.values()), *(_single(resolved(end)) for end in ends)


def _list(value: object, name: str) -> list:
    if not isinstance(value, list):
        raise malformed(f"layer {name!r} without calls")
    return value


def _first_calls(structures: list) -> dict[str, int]:
    """The number of each layer's first call: nested models count one that is not in the file in some versions."""
    first: dict[str, int] = {}
    for ref in _references(structures):
        first[ref.layer] = min(ref.call, first.get(ref.layer, ref.call))
    return first


def _is_made(structure: object, tensors: dict, first: dict[str, int]) -> bool:
    return all(
        ref.output < len(tensors.get((ref.layer, ref.call - first[ref.layer]), ()))
        for ref in _references(structure)
    )


def _references(structure: object) -> Iterator[_Reference]:
    if isinstance(structure, _Reference):
        yield structure
    elif isinstance(structure, list | tuple):
        for item in structure:
            yield from _references(item)
    elif isinstance(structure, dict):
        yield from _references(list(structure.values()))


def _replaced(structure: object, by: Callable[[_Reference], object]) -> object:
    if isinstance(structure, _Reference):
        return by(structure)
    if isinstance(structure, list | tuple):
        return [_replaced(item, by) for item in structure]
    if isinstance(structure, dict):
        return {key: _replaced(item, by) for key, item in structure.items()}
    return structure


def _single(structure: object) -> object:
    return structure[0] if isinstance(structure, list) and len(structure) == 1 else structure


def _call(node: object, members: dict[str, _Member]) -> tuple[list, dict]:
    """Arguments of one call, in any of the three forms in which Keras has written them."""
    if isinstance(node, dict) and "args" in node:  # Keras 3
        args, kwargs = (
            _referring(node["args"], members),
            _referring(node.get("kwargs") or {}, members),
        )
    elif (
        isinstance(node, list) and node and isinstance(node[0], str)
    ):  # one connection, of an operation
        args, kwargs = [_connection(node, members)], _keywords(node, members)
    elif isinstance(node, list) and node:
        args = [_single([_connection(connection, members) for connection in node])]
        kwargs = _keywords(node[-1], members)
    else:
        raise malformed(f"a call without inputs: {str(node)[:60]}")
    return args, {key: value for key, value in kwargs.items() if value is not None}


def _connection(value: object, members: dict[str, _Member]) -> object:
    if isinstance(value, list) and len(value) >= 3 and value[0] == _CONSTANT:
        return legacy_values.plain(value[2], what="a constant")
    return _referring(value[:3] if isinstance(value, list) else value, members)


def _keywords(connection: object, members: dict[str, _Member]) -> dict:
    keywords = connection[3] if isinstance(connection, list) and len(connection) > 3 else {}
    if not isinstance(keywords, dict):
        raise malformed(f"a call with arguments {str(keywords)[:60]}")
    return _referring(keywords, members)


def _referring(value: object, members: dict[str, _Member]) -> object:
    """The value with references in the place of `[layer, call, output]`, however they are wrapped."""
    if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
        return _referring((value.get("config") or {}).get("keras_history"), members)
    if (
        isinstance(value, list)
        and len(value) == 3
        and isinstance(value[0], str)
        and value[0] in members
    ):
        if not all(isinstance(number, int) and number >= 0 for number in value[1:]):
            raise malformed(f"a reference {value}")
        return _Reference(*value)
    if isinstance(value, list):
        return [_referring(item, members) for item in value]
    if isinstance(value, dict) and "class_name" not in value:
        return {key: _referring(item, members) for key, item in value.items()}
    return legacy_values.plain(value, what="arguments of a call")


def _run(member: _Member, args: list, kwargs: dict, keras_version: int) -> object:
    """Calls a layer, nested model or operation on tensors; the first call makes it."""
    entry, values = member.entry, [*args, *kwargs.values()]
    nested = layers.is_model(entry)
    try:
        if not nested and arithmetic.is_operation(entry, values):
            layer, operands = arithmetic.layer_for(entry, values, name=_name(member.name))
            return layer(operands)
        if member.made is None and nested:
            member.made, parts = build(
                entry, keras_version=keras_version, given=keras.tree.flatten(args)[0]
            )
            member.leaves = [leaf for part in parts for leaf in part.leaves]
        elif member.made is None:
            named = {**entry, "config": {**entry["config"], "name": _name(member.name)}}
            member.made = layers.build(named, keras_version=keras_version)
            member.leaves = [Leaf(member.name, member.made)]
        return member.made(*args, **kwargs)
    except checks.InputError:
        raise
    except layers.REFUSALS as refused:
        raise checks.error(
            "every layer of a model file must suit those before it",
            given=f"{layers.class_name(entry)} {member.name!r} ({layers.reason(refused)})",
        ) from refused
