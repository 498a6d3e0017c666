import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

import keras_transfer as kt
from keras_transfer.serving import warmup

pytestmark = pytest.mark.compiled

# Field numbers as in prediction_log.proto and predict.proto of the tensorflow-serving-api 2.21, whose classes read
# these records and write the same bytes.


def fields(data):
    """Reads the wire format of protocol buffers: field number -> contents, all of stated length."""

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    at, found = 0, {}
    while at < len(data):
        key = varint()
        assert key & 7 == 2
        length = varint()
        assert at + length <= len(data)
        assert key >> 3 not in found
        found[key >> 3] = data[at : at + length]
        at += length
    return found


def test_the_record_is_a_prediction_log(tmp_path):
    warmup.write(tmp_path, model="photos", signature="serving_default", argument="image_bytes")
    records = [record.numpy() for record in tf.data.TFRecordDataset(str(tmp_path / warmup.PATH))]
    assert len(records) == 1
    assert list(fields(records[0])) == [6]
    log = fields(fields(records[0])[6])
    assert list(log) == [1]
    request = fields(log[1])
    assert list(request) == [1, 2]
    assert fields(request[1]) == {1: b"photos", 3: b"serving_default"}
    entry = fields(request[2])
    assert entry[1] == b"image_bytes"
    tensor = tf.make_ndarray(tensor_pb2.TensorProto.FromString(entry[2]))
    assert tensor.shape == (1,)
    picture = tf.io.decode_jpeg(tensor[0]).numpy()
    np.testing.assert_array_equal(picture, np.full((96, 96, 3), 128))


def test_the_record_may_hold_pixels(tmp_path):
    warmup.write(
        tmp_path, model="photos", signature="serving_default", argument="images", channels=5
    )
    (record,) = tf.data.TFRecordDataset(str(tmp_path / warmup.PATH))
    entry = fields(fields(fields(fields(record.numpy())[6])[1])[2])
    assert entry[1] == b"images"
    tensor = tf.make_ndarray(tensor_pb2.TensorProto.FromString(entry[2]))
    np.testing.assert_array_equal(tensor, np.full((1, 96, 96, 5), 128, np.uint8))
    assert tensor.dtype == np.uint8


@pytest.mark.parametrize("channels", [4, 5])
def test_models_of_other_channels_answer_theirs(channels, small, tmp_path):
    """One whose pictures a file holds is sent a file, the other pixels."""
    exported = kt.export(small(shape=(8, 8, channels)), tmp_path / "1")
    (record,) = tf.data.TFRecordDataset(str(exported / warmup.PATH))
    request = fields(fields(fields(record.numpy())[6])[1])
    specification, entry = fields(request[1]), fields(request[2])
    assert entry[1] == {4: b"image_bytes", 5: b"images"}[channels]
    function = tf.saved_model.load(str(exported)).signatures[specification[3].decode()]
    tensor = tensor_pb2.TensorProto.FromString(entry[2])
    answers = function(**{entry[1].decode(): tf.constant(tf.make_ndarray(tensor))})
    np.testing.assert_allclose(tf.reduce_sum(answers["probabilities"], axis=-1), [1], rtol=1e-6)


def test_lengths_beyond_127_take_two_bytes():
    assert warmup._field(6, b"x" * 5) == b"\x32\x05xxxxx"
    assert warmup._field(1, b"x" * 300)[:4] == b"\x0a\xac\x02x"  # 300 = 0b10_0101100
    assert warmup._field(1, b"x" * 128)[:4] == b"\x0a\x80\x01x"
    assert warmup._field(1, b"x" * 127)[:3] == b"\x0a\x7fx"


def test_the_export_answers_its_own_warm_up(exported):
    (record,) = tf.data.TFRecordDataset(str(exported / warmup.PATH))
    request = fields(fields(fields(record.numpy())[6])[1])
    specification, entry = fields(request[1]), fields(request[2])
    loaded = tf.saved_model.load(str(exported))
    tensor = tensor_pb2.TensorProto.FromString(entry[2])
    function = loaded.signatures[specification[3].decode()]
    answers = function(**{entry[1].decode(): tf.constant(tf.make_ndarray(tensor))})
    np.testing.assert_allclose(tf.reduce_sum(answers["probabilities"], axis=-1), [1], rtol=1e-6)
