"""Describes TensorFlow SavedModels, and keeps private copies of those that the user trusts.

A SavedModel is a program. `describe` reads its description and runs none of it. Only copies made by `keep` are ever
loaded, so what runs is what was checked, whatever becomes of the original. A copy is found again by the digest of
its files, but only in the process that trusted it.
"""

import hashlib
import pathlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import tensorflow as tf
from google.protobuf import message
from tensorflow.core.protobuf import saved_model_pb2

from keras_transfer.core import checks, lookup
from keras_transfer.storage import archives

__all__ = [
    "FILE",
    "Call",
    "Description",
    "Spec",
    "check_trust",
    "choose",
    "describe",
    "keep",
    "kept",
]

FILE = "saved_model.pb"
_COPIES: dict[str, pathlib.Path] = {}  # by digest: what this process was told to trust


class Spec(NamedTuple):
    """Shape and type of a tensor."""

    shape: tuple[int | None, ...] | None
    """None where the rank is open."""
    dtype: str


class Call(NamedTuple):
    """One way to call a SavedModel on a tensor."""

    signature: str
    """Its name, "" for the module's own call."""
    input: str
    specs: tuple[Spec, ...]
    """The tensors it accepts; empty if it does not take exactly one tensor."""
    arguments: tuple[str, ...] = ()
    """Names of the arguments beside the tensor and `training`."""
    training: frozenset = frozenset()
    """The values of `training` that it was saved with; empty if it takes none."""
    outputs: tuple[str, ...] = ()
    """Names of its outputs; empty where it gives one tensor."""


class Description(NamedTuple):
    """What can be called in a SavedModel."""

    tags: tuple[str, ...]
    calls: Mapping[str, Call]
    """By name of the signature; the module's own call has the name ""."""
    references: bool = False
    """Whether it has reference variables of TensorFlow 1, which can no longer be trained or exported."""


def describe(folder: object, *, argument: str = "handle") -> Description:
    """Reads what can be called in a SavedModel, without running any of it.

    Args:
        folder: Where `saved_model.pb` lies.
        argument: The name of the user's argument, for the error.

    Raises:
        InputError: If it is no SavedModel, or has neither a call function nor a signature with inputs.

    Example:
        >>> describe("absent")
        Traceback (most recent call last):
        keras_transfer.core.checks.InputError: `handle` must be a folder with saved_model.pb. Given: 'absent'.
    """
    file = tf.io.gfile.join(str(folder), FILE)
    if not tf.io.gfile.exists(file):
        raise checks.error(f"`{argument}` must be a folder with {FILE}", given=repr(str(folder)))
    try:
        with tf.io.gfile.GFile(file, "rb") as stored:
            graphs = saved_model_pb2.SavedModel.FromString(stored.read()).meta_graphs
    except message.DecodeError as broken:
        given = f"{file!r} ({broken})"
        raise checks.error(f"`{argument}` must be a whole SavedModel", given=given) from broken
    # A module of TensorFlow 1 has one graph for training and one for use.
    graph: Any = next((graph for graph in graphs if "train" not in graph.meta_info_def.tags), None)
    calls = {call.signature: call for call in _calls(graph)} if graph else {}
    if not calls:
        raise checks.error(
            f"`{argument}` must be a SavedModel with a call function or a signature that takes inputs",
            given=f"{str(folder)!r}, which has none",
        )
    references = any(node.op in ("Variable", "VariableV2") for node in graph.graph_def.node)
    return Description(tuple(graph.meta_info_def.tags), calls, references)


def _calls(graph: Any) -> Iterator[Call]:
    nodes = graph.object_graph_def.nodes
    for child in nodes[0].children if nodes else ():
        if child.local_name == "__call__" and nodes[child.node_id].HasField("function"):
            functions = graph.object_graph_def.concrete_functions
            yield _own_call(nodes[child.node_id].function, functions)
    for name, signature in sorted(graph.signature_def.items()):
        if signature.inputs and not name.startswith("__"):
            inputs = signature.inputs.values()
            specs = tuple(_tensor(info.tensor_shape, info.dtype) for info in inputs)
            yield Call(
                signature=name,
                input=next(iter(signature.inputs)),
                specs=specs if len(specs) == 1 else (),
                outputs=tuple(sorted(signature.outputs)),
            )


def _own_call(function: Any, concrete: Mapping) -> Call:
    """Describes the module's own call by the traces that were saved of it."""
    arguments = _decode(function.function_spec.fullargspec)
    names = [*arguments["args"], *(arguments["kwonlyargs"] or ())]
    first, *others = [name for name in names if name != "self"] or ["inputs"]
    traces = [concrete[name] for name in function.concrete_functions]

    specs: dict[Spec, None] = {}  # in the order of the traces, each once
    modes = set()
    for trace in traces:
        positional, named = _decode(trace.canonicalized_input_signature)
        values = {**dict(zip((first, *others), positional, strict=False)), **named}
        if isinstance(values.get(first), Spec):
            specs[values[first]] = None
        if "training" in values:
            mode = values["training"]
            modes |= {True, False} if isinstance(mode, Spec) else {mode}

    outputs = _decode(traces[0].output_signature) if traces else None
    if outputs is None or isinstance(outputs, Spec):
        keys: tuple[str, ...] = ()
    elif isinstance(outputs, tuple):
        keys = tuple(map(str, range(len(outputs))))
    else:
        keys = tuple(outputs)
    settings = tuple(name for name in others if name != "training")
    return Call("", first, tuple(specs), settings, frozenset(modes), keys)


def _decode(value: Any) -> Any:
    """Turns a protocol buffer's structured value into Python values, None for kinds that no tensor can be."""
    kind = value.WhichOneof("kind")
    content: Any = getattr(value, kind) if kind else None
    if kind in ("bool_value", "int64_value", "float64_value", "string_value"):
        return content
    if kind in ("tensor_spec_value", "bounded_tensor_spec_value"):
        return _tensor(content.shape, content.dtype)
    if kind in ("list_value", "tuple_value"):
        return tuple(map(_decode, content.values))
    if kind == "dict_value":
        return {key: _decode(field) for key, field in content.fields.items()}
    if kind == "named_tuple_value":
        return {pair.key: _decode(pair.value) for pair in content.values}
    return None


def _tensor(shape: object, dtype: int) -> Spec:
    sides = tf.TensorShape(shape)
    sides = None if sides.rank is None else tuple(sides)
    return Spec(sides, tf.dtypes.as_dtype(dtype).name)


def choose(calls: Mapping[str, Call], output: str | None) -> tuple[Call, str]:
    """Returns the call that `output` means, and the key of its output ("" if the call gives one tensor).

    Args:
        calls: From `describe`.
        output: An output's key, a signature's name, or "signature:key". None takes the module's own call, else
            the signature `serving_default` or `default`, else the only one; of its outputs the one named
            `default`, else the only one.

    Raises:
        InputError: If there is no such output, or more than one.

    Example:
        >>> two = Call("f", "images", (), outputs=("a", "b"))
        >>> choose({"f": two}, "b")[1]
        'b'
    """
    name, _, key = (output or "").partition(":")
    if name not in calls:  # then `output` must be a key
        name, key = "", output or ""
    if not name:
        usual = [name for name in ("", "serving_default", "default") if name in calls]
        if not usual and len(calls) > 1:
            raise _undecided(output, list(calls), "several signatures")
        name = (usual or list(calls))[0]
    call = calls[name]
    if call.training == {True}:
        raise checks.error(
            "a SavedModel must have been saved with training=False", given="training=True only"
        )

    keys = call.outputs
    if not key and "default" in keys:
        key = "default"
    elif not key and len(keys) == 1:
        key = keys[0]
    if key in keys or not (key or keys):
        return call, key
    if output and output.partition(":")[0] == name:
        options = [f"{name}:{key}" for key in keys]
    else:
        options = [*keys, *filter(None, calls)]
    has = f"the outputs {', '.join(map(repr, keys))}" if keys else "one output"
    raise _undecided(output, options, has)


def _undecided(output: str | None, options: list[str], has: str) -> checks.InputError:
    if output:
        options = lookup.close(output, options) or options
    return checks.error(
        f"`output` must say which output to take of a SavedModel with {has}",
        given=repr(output),
        fix=f"Choose one of {', '.join(map(repr, options))}." if options else "",
    )


def check_trust(handle: str, *, trust: bool) -> None:
    """Raises an error unless the user trusts a SavedModel."""
    if not trust:
        raise checks.error(
            "`trust` must be True for a SavedModel, which is a program that will run",
            given=f"{trust} for {handle!r}",
            fix="Pass trust=True if you trust its author.",
        )


def keep(folder: object) -> str:
    """Copies the SavedModel in `folder` and returns the copy's digest; from now on this process trusts it.

    The copy lasts as long as the process.
    """
    folder = str(folder)
    files = [FILE]  # the files that loading needs, relative to the folder
    if tf.io.gfile.exists(tf.io.gfile.join(folder, "fingerprint.pb")):
        files.append("fingerprint.pb")
    for part in ("variables", "assets"):
        for parent, _, names in tf.io.gfile.walk(tf.io.gfile.join(folder, part)):
            inside = pathlib.PurePath(parent).relative_to(pathlib.PurePath(folder)).as_posix()
            files += [f"{inside}/{name}" for name in names]

    copy = pathlib.Path(tempfile.mkdtemp(dir=archives.scratch()))
    digest = hashlib.sha256()
    for name in sorted(files):
        target = copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        tf.io.gfile.copy(tf.io.gfile.join(folder, name), str(target))
        digest.update(f"{name}\0{target.stat().st_size}\0".encode())
        with open(target, "rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    known = _COPIES.setdefault(digest.hexdigest(), copy)
    if known is not copy:
        shutil.rmtree(copy)
    return digest.hexdigest()


def kept(digest: str | None) -> pathlib.Path | None:
    """Returns the trusted copy of this digest, or None.

    Example:
        >>> kept("0123") is None
        True
    """
    return None if digest is None else _COPIES.get(digest)
