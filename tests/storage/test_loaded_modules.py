"""A trusted copy lasts, is known by its content, and calls what the SavedModel calls."""

import numpy as np
import pytest
import tensorflow as tf

from keras_transfer.core import checks
from keras_transfer.storage import loaded_modules, saved_models

pytestmark = pytest.mark.compiled

IMAGES = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")


def save(folder, *, listed=False, size=None):
    """A 1 x 1 convolution with a count of its calls in training."""
    module = tf.train.Checkpoint()
    module.kernel = tf.Variable(tf.fill((1, 1, 3, 2), 0.5), name="conv/kernel")
    module.count = tf.Variable(0.0, trainable=False, name="count")
    if listed:
        module.variables, module.trainable_variables = (
            [module.kernel, module.count],
            [module.kernel],
        )
    module.regularization_losses = [
        tf.function(lambda: tf.reduce_sum(module.kernel), input_signature=[])
    ]

    @tf.function
    def call(images, training=False, times=1.0):
        if training:
            module.count.assign_add(1.0)
        return [tf.nn.conv2d(images, module.kernel, 1, "SAME") * times, tf.shape(images)]

    for training in (True, False):
        call.get_concrete_function(
            tf.TensorSpec([None, size, size, 3]), training, tf.TensorSpec([])
        )
    module.__call__ = call
    tf.saved_model.save(module, str(folder))
    return folder


def save_v1(folder, *, resource):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        images = tf.compat.v1.placeholder(tf.float32, [None, 8, 8, 3], name="images")
        start = np.full((1, 1, 3, 2), 0.5, "float32")
        kernel = tf.compat.v1.get_variable("kernel", initializer=start, use_resource=resource)
        outputs = {"a": tf.nn.conv2d(images, kernel, 1, "SAME"), "b": images}
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.saved_model.simple_save(session, str(folder), {"images": images}, outputs)
    return folder


def loaded(folder, **arguments):
    return loaded_modules.Module(saved_models.kept(saved_models.keep(folder)), **arguments)


@pytest.mark.parametrize("listed", [True, False])
def test_a_module_with_modes(tmp_path, listed):
    module = loaded(save(tmp_path / "m", listed=listed), output="0", arguments={"times": 2.0})
    assert [variable.name for variable in module.trainable] == ["conv/kernel:0"]
    assert [variable.name for variable in module.others] == ["count:0"]
    assert [float(loss()) for loss in module.regularisers] == [3.0]
    expected = np.repeat(IMAGES.sum(-1, keepdims=True), 2, -1)
    np.testing.assert_allclose(module(IMAGES, training=False), expected, rtol=1e-5, atol=1e-6)
    assert module.others[0].numpy() == 0
    module(IMAGES, training=True)
    assert module.others[0].numpy() == 1


def test_a_call_that_was_saved_in_one_mode_stays_in_it(tmp_path):
    module = tf.Module()
    call = tf.function(lambda x, training: x * 2.0 if training else x)
    call.get_concrete_function(tf.TensorSpec([None, 4]), None)
    module.__call__ = call
    tf.saved_model.save(module, str(tmp_path / "m"))
    one = loaded(tmp_path / "m")
    for training in (True, False):
        np.testing.assert_array_equal(one(tf.ones((1, 4)), training=training), np.ones((1, 4)))


def test_shapes_are_those_that_come_out(tmp_path):
    module = loaded(save(tmp_path / "any"), output="0")
    assert module.output_shape((8, 6, 3)) == (8, 6, 2)
    assert module.output_shape((None, None, 3)) == (None, None, 2)
    fixed = loaded(save(tmp_path / "fixed", size=8), output="0")
    with pytest.raises(
        checks.InputError,
        match=r"given what it was saved for. Given: shape \(None, 6, 6, 3\).*8, 8, 3",
    ):
        fixed.output_shape((6, 6, 3))
    assert (
        loaded_modules.Module(
            saved_models.kept(saved_models.keep(tmp_path / "any")), output="1"
        ).output_shape((8, 8, 3))
        == ()
    )


def test_variables_are_those_of_the_signature(tmp_path):
    module = loaded(save_v1(tmp_path / "v1", resource=True), output="a")
    assert [variable.name for variable in module.trainable] == ["kernel:0"]
    assert module.regularisers == []
    assert module.output_shape((8, 8, 3)) == (8, 8, 2)


def test_reference_variables_become_constants(tmp_path):
    """Nothing today trains or exports them; as constants they answer as before."""
    module = loaded(save_v1(tmp_path / "v1", resource=False), output="a")
    assert module.trainable == module.others == []
    expected = np.repeat(IMAGES.sum(-1, keepdims=True) / 2, 2, -1)
    np.testing.assert_allclose(module(IMAGES, training=True), expected, rtol=1e-5, atol=1e-6)
    again = tf.Module()
    again.keep = module.loaded
    again.serve = tf.function(
        lambda x: module(x, training=False), input_signature=[tf.TensorSpec([None, 8, 8, 3])]
    )
    tf.saved_model.save(again, str(tmp_path / "again"))
    exported = tf.saved_model.load(str(tmp_path / "again"))
    np.testing.assert_array_equal(exported.serve(IMAGES), module(IMAGES, training=False))


def test_refusals(tmp_path):
    folder = save(tmp_path / "m")
    with pytest.raises(
        checks.InputError, match="must be known. Given: 'momentum'. It takes: times"
    ):
        loaded(folder, output="0", arguments={"momentum": 1.0})
    (folder / "variables" / "variables.index").unlink()
    with pytest.raises(checks.InputError, match="a SavedModel must be whole") as error:
        loaded(folder, output="0")
    assert "\n" not in str(error.value)
    two = tf.function(
        lambda x, y: {"sum": x + y}, input_signature=[tf.TensorSpec([], name=n) for n in "xy"]
    )
    tf.saved_model.save(tf.Module(), str(tmp_path / "two"), signatures={"two": two})
    with pytest.raises(checks.InputError, match="called on one tensor"):
        loaded(tmp_path / "two")
