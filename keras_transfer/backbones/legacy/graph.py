"""Builds the functional model from the description of a network in an old Keras file."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import keras

from keras_transfer.backbones.legacy import arithmetic, layers, values
from keras_transfer.backbones.legacy.weights import Leaf, Part
from keras_transfer.core import checks

__all__ = ["build", "layers_within", "malformed"]

_CONSTANT = "_CONSTANT_VALUE"


@dataclasses.dataclass(frozen=True)
class _Reference:
    """An output of a call of a layer."""

    layer: str
    call: int
    output: int


@dataclasses.dataclass
class _Member:
    """A layer or nested model. It is made at its first call, which may tell a nested model its shape."""

    entry: dict
    made: Any = None
    leaves: list[Leaf] = dataclasses.field(default_factory=list)

    @property
    def name(self) -> str:
        return _name_in_file(self.entry)


def malformed(what: str) -> checks.InputError:
    """Returns the error for a description that Keras does not write."""
    return checks.error("`source` must describe a Keras model", given=what, fix=layers.REBUILD)


def layers_within(entry: dict) -> Iterator[dict]:
    """Yields every layer of a model and of its nested models."""
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
        entry: The description, all of whose layers passed `layers.check`.
        keras_version: Major version of the Keras that wrote it.
        given: The tensor on which a nested model is called; it has its shape if the description has none.

    Returns:
        The model, and its layers with their names in the file, in the file's order.
    """
    config = _config(entry)
    if isinstance(config, dict) and "input_layers" in config:
        members, inputs, outputs = _connect(entry, keras_version)
    else:
        members, inputs, outputs = _chain(entry, keras_version, given)
    name = config.get("name") if isinstance(config, dict) else None
    try:
        model = keras.Model(inputs, outputs, name=_valid_name(name))
    except layers.REFUSALS as refused:
        raise malformed(f"{name!r} ({checks.first_line(refused)})") from refused
    return model, [Part(member.name, member.leaves) for member in members]


def _config(entry: object) -> dict | list:
    if not isinstance(entry, dict) or not isinstance(entry.get("config"), dict | list):
        raise malformed(f"a layer without configuration: {str(entry)[:60]}")
    return entry["config"]


def _members(entry: dict) -> list[dict]:
    """Returns the layers of a model; Keras 1 wrote a sequential model as a bare list of them."""
    config = _config(entry)
    listed = config.get("layers") if isinstance(config, dict) else config
    if not isinstance(listed, list) or not listed:
        raise malformed(f"{layers.class_name(entry)} {_name_in_file(entry)!r} without layers")
    return listed


def _name_in_file(entry: dict) -> str:
    config = entry["config"]
    name = entry.get("name") or (config.get("name") if isinstance(config, dict) else None)
    return name if isinstance(name, str) else layers.class_name(entry).lower()


def _valid_name(name: object) -> str | None:
    """Replaces `/`, which Keras 3 does not allow in names."""
    return name.replace("/", "_") if isinstance(name, str) else None


def _input(entry: dict) -> keras.KerasTensor:
    """Makes the input of an InputLayer, for batches of any size."""
    config = entry["config"]
    shape = config.get("batch_input_shape") or config.get("batch_shape")
    dtype = values.dtype(config.get("dtype") or config.get("input_dtype"))
    if str(dtype).startswith("float"):
        dtype = None
    return keras.Input(_shape(shape, entry), dtype=dtype, name=_valid_name(config.get("name")))


def _shape(value: object, entry: dict) -> tuple[int | None, ...]:
    """Returns a shape without the batch axis."""
    sizes = values.plain(value, what="shape")
    if not isinstance(sizes, list) or not all(
        size is None or (isinstance(size, int) and size > 0) for size in sizes
    ):
        raise malformed(f"{_name_in_file(entry)!r} with input shape {value}")
    return tuple(sizes[1:])


def _chain(entry: dict, keras_version: int, given: keras.KerasTensor | None) -> tuple:
    """Calls the layers of a sequential model one after the other."""
    listed = _members(entry)
    if layers.class_name(listed[0]) == "InputLayer":
        inputs, listed = _input(listed[0]), listed[1:]
    else:
        inputs = keras.Input(_first_shape(entry, given))
    members, tensor = [_Member(part) for part in listed], inputs
    for member in members:
        tensor = _call(member, [tensor], {}, keras_version)
    return members, inputs, tensor


def _first_shape(entry: dict, given: keras.KerasTensor | None) -> tuple[int | None, ...]:
    """Returns the input shape of a sequential model that does not begin with its input."""
    first, config = _members(entry)[0], entry["config"]
    own = first["config"].get("batch_input_shape") if isinstance(first["config"], dict) else None
    own = own or (config.get("build_input_shape") if isinstance(config, dict) else None)
    if own is not None:
        return _shape(own, entry)
    if given is not None:
        return tuple(given.shape[1:])
    if layers.is_model(first):
        inner = _members(first)[0]
        is_input = layers.class_name(inner) == "InputLayer"
        return _input(inner).shape[1:] if is_input else _first_shape(first, None)
    raise checks.error(
        "`source` must say the shape of its input",
        given=f"{layers.class_name(entry)} {_name_in_file(entry)!r}, which was never built",
        fix=layers.REBUILD,
    )


def _connect(entry: dict, keras_version: int) -> tuple:
    """Calls the layers of a functional model, each as soon as its inputs are made."""
    members = {member.name: member for member in map(_Member, _members(entry))}
    calls, tensors = {}, {}
    for name, member in members.items():
        if layers.class_name(member.entry) == "InputLayer":
            tensors[name, 0] = [_input(member.entry)]
            continue
        listed = member.entry.get("inbound_nodes")
        if not isinstance(listed, list):
            raise malformed(f"layer {name!r} without calls")
        for number, node in enumerate(listed):
            calls[name, number] = _parse_call(node, members)
    ends = [_refer(entry["config"].get(key), members) for key in ("input_layers", "output_layers")]

    # The first call of a nested model has number 1 in some versions.
    first: dict[str, int] = {}
    for reference in _references([*calls.values(), ends]):
        first[reference.layer] = min(reference.call, first.get(reference.layer, reference.call))

    def outputs_of(reference: _Reference) -> list:
        return tensors.get((reference.layer, reference.call - first[reference.layer]), [])

    def is_made(structure: object) -> bool:
        references = _references(structure)
        return all(reference.output < len(outputs_of(reference)) for reference in references)

    def resolve(structure: object) -> Any:
        return keras.tree.map_structure(
            lambda leaf: outputs_of(leaf)[leaf.output] if isinstance(leaf, _Reference) else leaf,
            structure,
        )

    while calls:
        ready = [key for key, call in calls.items() if is_made(call)]
        if not ready:
            raise malformed(f"layer {next(iter(calls))[0]!r} takes a tensor that no layer makes")
        for key in ready:
            args, kwargs = resolve(calls.pop(key))
            tensors[key] = keras.tree.flatten(_call(members[key[0]], args, kwargs, keras_version))
    if not is_made(ends):
        raise malformed("inputs or outputs that no layer makes")
    inputs, outputs = (_single(resolve(end)) for end in ends)
    return list(members.values()), inputs, outputs


def _references(structure: object) -> list[_Reference]:
    return [leaf for leaf in keras.tree.flatten(structure) if isinstance(leaf, _Reference)]


def _single(structure: object) -> object:
    return structure[0] if isinstance(structure, list) and len(structure) == 1 else structure


def _parse_call(node: object, members: dict[str, _Member]) -> tuple[list, dict]:
    """Returns the arguments of a call, from any of the three forms in which Keras has written them."""
    if isinstance(node, dict) and "args" in node:  # Keras 3
        args = _refer(node["args"], members)
        kwargs = _refer(node.get("kwargs") or {}, members)
    elif isinstance(node, list) and node and isinstance(node[0], str):  # one input, of an operation
        args, kwargs = [_parse_input(node, members)], _parse_keywords(node, members)
    elif isinstance(node, list) and node:
        args = [_single([_parse_input(connection, members) for connection in node])]
        kwargs = _parse_keywords(node[-1], members)
    else:
        raise malformed(f"a call without inputs: {str(node)[:60]}")
    return args, {key: value for key, value in kwargs.items() if value is not None}


def _parse_input(value: object, members: dict[str, _Member]) -> object:
    if isinstance(value, list) and len(value) >= 3 and value[0] == _CONSTANT:
        return values.plain(value[2], what="a constant")
    return _refer(value[:3] if isinstance(value, list) else value, members)


def _parse_keywords(connection: object, members: dict[str, _Member]) -> dict:
    keywords = connection[3] if isinstance(connection, list) and len(connection) > 3 else {}
    if not isinstance(keywords, dict):
        raise malformed(f"a call with arguments {str(keywords)[:60]}")
    return _refer(keywords, members)


def _refer(value: object, members: dict[str, _Member]) -> Any:
    """Replaces each `[layer, call, output]` by a reference, however it is wrapped."""
    if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
        return _refer((value.get("config") or {}).get("keras_history"), members)
    if isinstance(value, list):
        is_named = len(value) == 3 and isinstance(value[0], str) and value[0] in members
        if not is_named:
            return [_refer(item, members) for item in value]
        if not all(isinstance(number, int) and number >= 0 for number in value[1:]):
            raise malformed(f"a reference {value}")
        return _Reference(*value)
    if isinstance(value, dict) and "class_name" not in value:
        return {key: _refer(item, members) for key, item in value.items()}
    return values.plain(value, what="arguments of a call")


def _call(member: _Member, args: list, kwargs: dict, keras_version: int) -> Any:
    """Calls a layer, nested model or operation; makes it at its first call."""
    entry, operands = member.entry, [*args, *kwargs.values()]
    is_model = layers.is_model(entry)
    try:
        if not is_model and arithmetic.is_operation(entry, operands):
            name = _valid_name(member.name)
            layer, inputs = arithmetic.layer_for(entry, operands, name=name)
            return layer(inputs)
        if member.made is None and is_model:
            given = keras.tree.flatten(args)[0]
            member.made, parts = build(entry, keras_version=keras_version, given=given)
            member.leaves = [leaf for part in parts for leaf in part.leaves]
        elif member.made is None:
            named = {**entry, "config": {**entry["config"], "name": _valid_name(member.name)}}
            member.made = layers.build(named, keras_version=keras_version)
            member.leaves = [Leaf(member.name, member.made)]
        return member.made(*args, **kwargs)
    except checks.InputError:
        raise
    except layers.REFUSALS as refused:
        raise checks.error(
            "every layer of a model file must suit those before it",
            given=f"{layers.class_name(entry)} {member.name!r} ({checks.first_line(refused)})",
        ) from refused
