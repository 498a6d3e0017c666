"""TensorFlow SavedModels: what one says of itself, and private copies of those that are trusted.

A SavedModel is a program. `describe` reads its description without running any of it. Only a copy that
`keep` made is ever loaded, so what was looked at is what runs, and what becomes of the original does not
matter. A copy is known by the digest of its files: with that, a process that trusted a SavedModel once can
load it again.
"""

import hashlib
import pathlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import tensorflow as tf
from google.protobuf import message
from tensorflow.core.protobuf import saved_model_pb2

from keras_transfer.core import checks, lookup
from keras_transfer.storage import archives

__all__ = ["FILE", "Call", "Description", "Spec", "choose", "describe", "keep", "kept"]

FILE = "saved_model.pb"
_PARTS = ("variables", "assets")  # the folders that loading needs
_COPIES: dict[str, pathlib.Path] = {}  # by digest: what this process was told to trust


class Spec(NamedTuple):
    """Shape and type of a tensor."""

    shape: tuple[int | None, ...] | None
    """None where the rank is open."""
    dtype: str


class Call(NamedTuple):
    """One way to call a SavedModel on a tensor."""

    signature: str
    """"" for the module's own call."""
    input: str
    specs: tuple[Spec, ...]
    """What the tensor may be; empty if it does not take exactly one."""
    arguments: tuple[str, ...] = ()
    """What it takes beside the tensor and `training`."""
    training: frozenset = frozenset()
    """The values of `training` that it was saved with; empty if it takes none."""
    outputs: tuple[str, ...] = ()
    """Names of its outputs; empty where it gives one tensor."""


class Description(NamedTuple):
    """What a SavedModel says of itself."""

    tags: tuple[str, ...]
    calls: Mapping[str, Call]
    """By name of the signature, the module's own call as ""."""
    references: bool = False
    """Whether its variables are the reference variables of TensorFlow 1, which nothing can train or export today."""


def describe(folder: object, *, argument: str = "handle") -> Description:
    """Reads what can be called in a SavedModel; nothing of it is run.

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
        raise checks.error(
            f"`{argument}` must be a whole SavedModel", given=f"{file!r} ({broken})"
        ) from broken
    # A module of TensorFlow 1 has one graph for training and one for use.
    graph = next((graph for graph in graphs if "train" not in graph.meta_info_def.tags), None)
    calls = {call.signature: call for call in _calls(graph)} if graph else {}
    if not calls:
        raise checks.error(
            f"`{argument}` must be a SavedModel with a call function or a signature that takes inputs",
            given=f"{str(folder)!r}, which has none",
        )
    references = any(node.op in ("Variable", "VariableV2") for node in graph.graph_def.node)
    return Description(tuple(graph.meta_info_def.tags), calls, references)


def _calls(graph: object) -> Iterator[Call]:
    nodes = graph.object_graph_def.nodes
    children = (
        {child.local_name: nodes[child.node_id] for child in nodes[0].children} if nodes else {}
    )
    if "__call__" in children and children["__call__"].HasField("function"):
        yield _own_call(children["__call__"].function, graph.object_graph_def.concrete_functions)
    for name, signature in sorted(graph.signature_def.items()):
        if signature.inputs and not name.startswith("__"):
            specs = tuple(
                _tensor(info.tensor_shape, info.dtype) for info in signature.inputs.values()
            )
            image = specs if len(specs) == 1 else ()
            yield Call(
                name, next(iter(signature.inputs)), image, outputs=tuple(sorted(signature.outputs))
            )


def _own_call(function: object, concrete: Mapping) -> Call:
    arguments = _plain(function.function_spec.fullargspec)
    names = [
        name for name in (*arguments["args"], *(arguments["kwonlyargs"] or ())) if name != "self"
    ] or ["inputs"]
    traced = [concrete[name] for name in function.concrete_functions]
    bound = []
    for trace in traced:
        positional, named = _plain(trace.canonicalized_input_signature)
        bound.append({**dict(zip(names, positional, strict=False)), **named})
    specs = dict.fromkeys(
        values.get(names[0]) for values in bound if isinstance(values.get(names[0]), Spec)
    )
    modes = frozenset(
        mode for values in bound if "training" in values for mode in _modes(values["training"])
    )
    others = tuple(name for name in names[1:] if name != "training")
    outputs = _plain(traced[0].output_signature) if traced else None
    if isinstance(outputs, tuple) and not isinstance(outputs, Spec):
        outputs = map(str, range(len(outputs)))
    keys = () if outputs is None or isinstance(outputs, Spec) else tuple(outputs)
    return Call("", names[0], tuple(specs), others, modes, keys)


def _modes(mode: bool | Spec | None) -> tuple:
    return (True, False) if isinstance(mode, Spec) else (mode,)


def _plain(value: object) -> object:
    """A protocol buffer's structured value as Python values; what no tensor can be called with becomes None."""
    kind = value.WhichOneof("kind")
    content = getattr(value, kind) if kind else None
    if kind in ("bool_value", "int64_value", "float64_value", "string_value"):
        return content
    if kind in ("tensor_spec_value", "bounded_tensor_spec_value"):
        return _tensor(content.shape, content.dtype)
    if kind in ("list_value", "tuple_value"):
        return tuple(map(_plain, content.values))
    if kind == "dict_value":
        return {key: _plain(field) for key, field in content.fields.items()}
    if kind == "named_tuple_value":
        return {pair.key: _plain(pair.value) for pair in content.values}
    return None


def _tensor(shape: object, dtype: int) -> Spec:
    sides = (
        None
        if shape.unknown_rank
        else tuple(None if side.size < 0 else side.size for side in shape.dim)
    )
    return Spec(sides, tf.dtypes.as_dtype(dtype).name)


def choose(calls: Mapping[str, Call], output: str | None) -> tuple[Call, str]:
    """Returns the call, and the key of its output ("" for its only tensor), that `output` means.

    Args:
        calls: Of `describe`.
        output: An output's key, a signature's name, or "signature:key". None takes the module's own call, else
            the signature `serving_default` or `default`, else the only one; of its outputs the one named
            `default`, else the only one.

    Raises:
        InputError: If there is no such output, or several come into question.

    Example:
        >>> two = Call("f", "images", (), outputs=("a", "b"))
        >>> choose({"f": two}, "b")[1]
        'b'
    """
    name, _, key = (output or "").partition(":")
    if name not in calls:  # not a signature, then it must be a key
        name, key = "", output or ""
    if not name:
        usual = next(
            (usual for usual in ("", "serving_default", "default") if usual in calls), None
        )
        if usual is None and len(calls) > 1:
            raise _undecided(output, list(calls), "several signatures")
        name = next(iter(calls)) if usual is None else usual
    call = calls[name]
    if call.training == {True}:
        raise checks.error(
            "a SavedModel must have been saved with training=False", given="training=True only"
        )
    keys = call.outputs
    if not key and keys:
        key = "default" if "default" in keys else keys[0] if len(keys) == 1 else "?"
    if key and key not in keys:
        named = output and output.partition(":")[0] == name
        options = [f"{name}:{key}" for key in keys] if named else [*keys, *filter(None, calls)]
        raise _undecided(
            output, options, f"the outputs {', '.join(map(repr, keys))}" if keys else "one output"
        )
    return call, key


def _undecided(output: str | None, options: list[str], has: str) -> checks.InputError:
    options = (lookup.close(output, options) if output else []) or options
    fix = f"Choose one of {', '.join(map(repr, options))}." if options else ""
    given = repr(output)
    return checks.error(
        f"`output` must say which output to take of a SavedModel with {has}", given=given, fix=fix
    )


def keep(folder: object) -> str:
    """Copies the SavedModel in `folder` and returns the copy's digest; from here on this process trusts it.

    The copy lasts as long as the process, whatever becomes of `folder`.
    """
    copy = pathlib.Path(tempfile.mkdtemp(dir=archives.scratch()))
    digest = hashlib.sha256()
    for name in _files(str(folder)):
        target = copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        tf.io.gfile.copy(tf.io.gfile.join(str(folder), name), str(target))
        digest.update(f"{name}\0{target.stat().st_size}\0".encode())
        with open(target, "rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    known = _COPIES.setdefault(digest.hexdigest(), copy)
    if known is not copy:
        shutil.rmtree(copy)
    return digest.hexdigest()


def _files(folder: str) -> list[str]:
    """The files that loading needs, relative to `folder` and in a fixed order."""
    found = [
        name
        for name in (FILE, "fingerprint.pb")
        if tf.io.gfile.exists(tf.io.gfile.join(folder, name))
    ]
    for part in _PARTS:
        for parent, _, names in tf.io.gfile.walk(tf.io.gfile.join(folder, part)):
            inside = pathlib.PurePath(parent).relative_to(pathlib.PurePath(folder)).as_posix()
            found += [f"{inside}/{name}" for name in names]
    return sorted(found)


def kept(digest: str | None) -> pathlib.Path | None:
    """Returns the trusted copy of this digest, or None.

    Example:
        >>> kept("0123") is None
        True
    """
    return _COPIES.get(digest)
