import keras
import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.core import checks
from keras_transfer.graphs import paths


def test_one_expert_is_hard_sharing_with_it(small):
    network = small.network()
    model = kt.build_model(network, small.tasks(), sharing=kt.models.Experts(count=1, width=8))
    other = small.network()
    read = keras.layers.Dense(8, activation="relu", name="expert_1")(other.output)
    plain = kt.build_model(keras.Model(other.input, read, name="read"), small.tasks())
    small.same_heads(plain, model)
    for key, values in small.answers(plain).items():
        np.testing.assert_array_equal(small.answers(model)[key], values)
    for each in (model, plain):
        kt.compile(each, optimizer=keras.optimizers.SGD(0.01))
        each.fit(small.pixels, small.targets, batch_size=4, epochs=2, shuffle=False, verbose=0)
    found = paths.variables(model)
    for path, variable in paths.variables(plain).items():
        np.testing.assert_allclose(
            np.array(found[path]), np.array(variable), atol=1e-6, err_msg=path
        )


def test_tasks_choose_for_themselves(small):
    model = kt.build_model(
        small.network(), small.tasks(), sharing=kt.models.Experts(count=3, width=8)
    )
    before = small.answers(model)
    model.get_layer("age_gate").bias.assign([9.0, 0.0, -9.0])
    after = small.answers(model)
    np.testing.assert_array_equal(after["kind"], before["kind"])
    assert np.abs(after["age"] - before["age"]).max() > 0
    names = {tensor._keras_history.operation.name for tensor in kt.models.shared(model)}
    assert names == {"experts_pool", "expert_1", "expert_2", "expert_3"}


def test_experts_of_a_vector(small):
    network = keras.Sequential(
        [keras.Input((16, 16, 3)), keras.layers.Flatten(), keras.layers.Dense(4)], name="flat"
    )
    model = kt.build_model(network, small.tasks(), sharing="experts")
    assert model.get_layer("age_gate").output.shape == (None, 128)
    assert all(np.isfinite(values).all() for values in small.answers(model).values())


@pytest.mark.parametrize("bad", [{"count": 0}, {"width": 0.5}])
def test_bad_arguments(bad):
    with pytest.raises(checks.InputError, match="must be a whole number of at least 1"):
        kt.models.Experts(**bad)
