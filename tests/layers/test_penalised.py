import keras
import numpy as np
from keras import ops

from keras_transfer.layers import penalised


def test_it_adds_its_value_while_training_only():
    layer = penalised.Penalised(lambda taps: ops.sum(taps[0]))
    inputs = [np.zeros(2, "float32"), [np.ones(3, "float32")]]
    layer(inputs, training=True)
    assert [float(loss) for loss in layer.losses] == [3.0]
    layer(inputs, training=False)
    assert layer.losses == []


def test_outputs_come_out_as_they_went_in():
    tensor = ops.ones((2, 2), dtype="float16")
    outputs = penalised.Penalised()([{"a": tensor}, []], training=True)
    assert outputs["a"] is tensor


def test_without_a_value_nothing_is_added():
    layer = penalised.Penalised(lambda taps: None)
    layer([np.zeros(2, "float32"), []], training=True)
    assert layer.losses == []


def test_the_penalty_is_not_saved():
    layer = penalised.Penalised(lambda taps: ops.sum(taps[0]), name="penalty")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert again.value is None
    assert again.name == "penalty"
