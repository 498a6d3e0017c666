"""A request that TensorFlow Serving replays when it loads a model, so that the first client does not wait.

The record is a `PredictionLog` of the tensorflow-serving-api. Four fields of nested messages do not need that
package: a message field is its number, its length and its bytes.
"""

import pathlib

import tensorflow as tf

__all__ = ["PATH", "write"]

PATH = "assets.extra/tf_serving_warmup_requests"
SIDE = 96  # no network of ours takes less


def write(
    folder: pathlib.Path, *, model: str, signature: str, argument: str, channels: int | None = None
) -> None:
    """Writes a request with one grey picture.

    Args:
        folder: The SavedModel.
        model: Its name; the server does not look at it.
        signature: Which to call.
        argument: Name of its only input.
        channels: Of the pixels that this input takes; None if it takes the bytes of image files.
    """
    picture = tf.fill((SIDE, SIDE, channels or 3), tf.constant(128, tf.uint8))
    value = picture[None] if channels else tf.io.encode_jpeg(picture)[None]
    tensor = tf.make_tensor_proto(value.numpy()).SerializeToString()
    specification = _field(1, model.encode()) + _field(
        3, signature.encode()
    )  # ModelSpec.name, .signature_name
    entry = _field(1, argument.encode()) + _field(2, tensor)  # of the map PredictRequest.inputs
    request = _field(1, specification) + _field(2, entry)  # PredictRequest.model_spec, .inputs
    log = _field(6, _field(1, request))  # PredictionLog.predict_log, PredictLog.request
    path = folder / PATH
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(log)


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content  # 2: of stated length


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; the eighth says that more follow."""
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    return bytes([*encoded, value])
