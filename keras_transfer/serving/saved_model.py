"""The SavedModel folder that TensorFlow Serving, and any TensorFlow process, loads."""

import json
import os
import pathlib

import keras
import tensorflow as tf

import keras_transfer
from keras_transfer import layers
from keras_transfer.core import checks
from keras_transfer.layers import marks
from keras_transfer.serving import interface, warmup

__all__ = ["answer_size", "signatures", "write"]

FACTS = pathlib.Path("assets.extra", "keras_transfer.json")

# signature: the name of its only input
_SIGNATURES = {
    "serving_default": "image_bytes",
    "pixels": "images",
    "features": "images",
    "explain": "images",
}


def signatures(face: interface.Interface) -> dict[str, str]:
    """Name of each signature, and of its only input. Where no file holds the channels there are no bytes to decode."""
    offered = dict(_SIGNATURES)
    if not face.decodes:
        del offered["serving_default"]
    if not face.explainers:
        del offered["explain"]
    return offered


def answer_size(folder: str | os.PathLike) -> str:
    """Returns in whose pixels an export answers, which it says of itself; "picture" where it says nothing."""
    try:
        facts = json.loads((pathlib.Path(folder) / FACTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "picture"
    found = facts.get("answer_size") if isinstance(facts, dict) else None
    return found if found in interface.ANSWER_SIZES else "picture"


def write(face: interface.Interface, folder: pathlib.Path) -> str:
    """Writes the signatures, labels, facts and a warm-up request, and says what was written."""
    if not face.is_marked:
        checks.note(
            f"{face.model.name!r} has no representation mark: `features` are the output of layer {face.source!r}"
        )
    if (
        not face.decodes
    ):  # Keras names the first signature that, too, since TensorFlow Serving needs it
        checks.note(
            f"no image file holds {face.channels} channels: `serving_default` takes pixels, as `pixels` does"
        )
    functions = _functions(face)
    # No `track`: variables are found through the endpoints, and Keras 3.15 saves tracked ones a second time.
    archive = keras.export.ExportArchive()
    specifications = {
        "image_bytes": tf.TensorSpec((None,), tf.string, name="image_bytes"),
        "images": tf.TensorSpec((None, None, None, face.channels), tf.uint8, name="images"),
    }
    traced, offered = {}, signatures(face)
    for signature, argument in offered.items():
        traced[signature] = archive.add_endpoint(
            signature, functions[signature], [specifications[argument]]
        )
    archive.write_out(str(folder), verbose=False)
    _write_labels(face, folder / "assets")
    request = {"signature": "serving_default", "argument": next(iter(offered.values()))}
    warmup.write(
        folder, model=face.model.name, **request, channels=None if face.decodes else face.channels
    )
    facts = {
        **_facts(face),
        "signatures": {name: _shapes(function) for name, function in traced.items()},
    }
    (folder / FACTS).write_text(
        json.dumps(facts, indent=1, default=str, ensure_ascii=False), encoding="utf-8"
    )
    return f"SavedModel with {', '.join(offered)}"


def _functions(face: interface.Interface) -> dict:
    def serving_default(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        shape = (*(face.size or (None, None)), face.channels)
        signature = (tf.TensorSpec(shape, tf.uint8), tf.TensorSpec((2,), tf.int32))
        pixels, sizes = tf.map_fn(face.decode, image_bytes, fn_output_signature=signature)
        return face.answers(pixels, face.scales(sizes))

    def pixels(images: tf.Tensor) -> dict[str, tf.Tensor]:
        shape = tf.shape(images)
        sizes = tf.tile(shape[None, 1:3], [shape[0], 1])
        return face.answers(face.resize(images), face.scales(sizes))

    def features(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"features": face.features(face.resize(images))}

    def explain(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return face.explanations(face.resize(images))

    return {
        "serving_default": serving_default,
        "pixels": pixels,
        "features": features,
        "explain": explain,
    }


def _write_labels(face: interface.Interface, folder: pathlib.Path) -> None:
    for name, task in face.tasks.items():
        if task.class_names is not None:
            folder.mkdir(exist_ok=True)
            file = "labels.txt" if len(face.names) == 1 else f"{name}.labels.txt"
            (folder / file).write_text(
                "".join(f"{label}\n" for label in task.class_names), encoding="utf-8"
            )


def _facts(face: interface.Interface) -> dict:
    mark = marks.representation(face.model)
    modes = [layer.mode for layer in face.model.layers if isinstance(layer, layers.Preprocess)]
    return {
        "format": "saved_model",
        "model": face.model.name,
        "versions": {
            "keras_transfer": keras_transfer.__version__,
            "keras": keras.__version__,
            "tensorflow": tf.__version__,
        },
        "tasks": {
            name: {"class": type(task).__name__, "kind": task.kind, **task.get_config()}
            for name, task in face.tasks.items()
        },
        "backbone": None if mark is None else mark.source,
        "image_size": face.size,
        "answer_size": face.answer_size,
        "channels": face.channels,
        "preprocessing": {
            "resize": None
            if face.size is None
            else "bilinear, antialiased, rounded to whole numbers",
            "network": modes[0] if modes else None,
        },
        "features": {"layer": face.source, "pooling": "average over places"},
    }


def _shapes(function: tf.types.experimental.GenericFunction) -> dict:
    concrete = function.get_concrete_function()
    inputs = {spec.name: spec for spec in concrete.structured_input_signature[0]}
    shapes: dict[str, dict] = {"inputs": {}, "outputs": {}}
    for side, specs in (("inputs", inputs), ("outputs", concrete.structured_outputs)):
        for name, spec in specs.items():
            shapes[side][name] = {"shape": spec.shape.as_list(), "dtype": spec.dtype.name}
    return shapes
