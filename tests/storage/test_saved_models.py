"""What SavedModels made here say of themselves; reading it runs and loads nothing."""

import shutil

import numpy as np
import pytest
import tensorflow as tf

from keras_transfer.core import checks
from keras_transfer.storage import archives, saved_models
from keras_transfer.storage.saved_models import Call, Spec

pytestmark = pytest.mark.compiled


@pytest.fixture(autouse=True)
def _nothing_is_loaded(monkeypatch):
    monkeypatch.delattr(tf.saved_model, "load")


def saved(tmp_path, call=None, signatures=None):
    module = tf.Module()
    if call is not None:
        module.__call__ = call
    tf.saved_model.save(module, str(tmp_path / "module"), signatures=signatures)
    return tmp_path / "module"


def test_a_call_with_modes_arguments_and_several_outputs(tmp_path):
    @tf.function
    def call(images, training=False, batch_norm_momentum=0.9, *, scale=1.0):
        return {
            "default": images * scale,
            "pooled": tf.reduce_mean(images, [1, 2]) * batch_norm_momentum,
        }

    for training in (True, False):
        for size in (8, None):
            call.get_concrete_function(
                tf.TensorSpec([None, size, size, 3]), training, tf.TensorSpec([])
            )
    description = saved_models.describe(saved(tmp_path, call))
    assert description.tags == ("serve",)
    assert not description.references
    own = description.calls[""]
    assert set(own.specs) == {
        Spec((None, None, None, 3), "float32"),
        Spec((None, 8, 8, 3), "float32"),
    }
    assert own.arguments == ("batch_norm_momentum", "scale")
    assert own.training == {True, False}
    assert set(own.outputs) == {"default", "pooled"}


@pytest.mark.parametrize(
    ("training", "values"),
    [(False, {False}), (None, {None}), (tf.TensorSpec([], tf.bool), {True, False})],
)
def test_the_modes_that_a_call_was_saved_with(tmp_path, training, values):
    call = tf.function(lambda images, training: images)
    call.get_concrete_function(tf.TensorSpec([None, 4]), training)
    own = saved_models.describe(saved(tmp_path, call)).calls[""]
    assert own.training == values
    assert own.outputs == ()


def test_a_call_of_anything_and_one_of_two_tensors(tmp_path):
    wrapped = tf.function(lambda *args: args[0])
    wrapped.get_concrete_function(tf.TensorSpec([None, 4], tf.uint8))
    own = saved_models.describe(saved(tmp_path, wrapped)).calls[""]
    assert own.specs == (Spec((None, 4), "uint8"),)
    pair = tf.function(lambda inputs: (inputs[0], inputs[1]))
    pair.get_concrete_function([tf.TensorSpec([None, 4]), tf.TensorSpec([None, 4])])
    own = saved_models.describe(saved(tmp_path, pair)).calls[""]
    assert own.specs == ()
    assert own.outputs == ("0", "1")


def test_signatures(tmp_path):
    one = tf.function(
        lambda images: {"b": images, "a": images},
        input_signature=[tf.TensorSpec(None, name="images")],
    )
    two = tf.function(
        lambda x, y: {"sum": x + y}, input_signature=[tf.TensorSpec([], name=n) for n in "xy"]
    )
    none = tf.function(lambda: {"one": tf.ones(())}, input_signature=[])
    signatures = {"one": one, "two": two, "none": none}
    calls = saved_models.describe(saved(tmp_path, signatures=signatures)).calls
    assert calls["one"] == Call("one", "images", (Spec(None, "float32"),), outputs=("a", "b"))
    assert calls["two"].specs == ()
    assert set(calls) == {"one", "two"}, "a signature without inputs is no call"


@pytest.mark.parametrize("resource", [True, False])
def test_a_module_of_tensorflow_1(tmp_path, resource):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        images = tf.compat.v1.placeholder(tf.float32, [None, 8, 8, 3])
        one = tf.compat.v1.get_variable("one", initializer=np.float32(1), use_resource=resource)
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.saved_model.simple_save(
            session, str(tmp_path / "v1"), {"x": images}, {"y": images * one}
        )
    description = saved_models.describe(tmp_path / "v1")
    assert list(description.calls) == ["serving_default"]
    assert description.references is not resource


def test_what_is_no_saved_model(tmp_path):
    with pytest.raises(checks.InputError, match="`source` must be a folder with saved_model.pb"):
        saved_models.describe(tmp_path, argument="source")
    folder = saved(tmp_path, tf.function(lambda x: x, input_signature=[tf.TensorSpec([None, 4])]))
    whole = (folder / "saved_model.pb").read_bytes()
    for content in (whole[: len(whole) // 2], b"no protocol buffer at all", b""):
        (folder / "saved_model.pb").write_bytes(content)
        with pytest.raises(checks.InputError) as error:
            saved_models.describe(folder)
        assert "\n" not in str(error.value)
    with pytest.raises(
        checks.InputError, match="with a call function or a signature that takes inputs"
    ):
        saved_models.describe(saved(tmp_path / "empty"))


CALLS = {
    "": Call("", "images", (), outputs=("default", "pooled")),
    "features": Call("features", "images", (), outputs=("vector",)),
    "many": Call("many", "images", (), outputs=("a", "b")),
}


@pytest.mark.parametrize(
    ("output", "chosen"),
    [
        (None, ("", "default")),
        ("pooled", ("", "pooled")),
        ("features", ("features", "vector")),
        ("many:b", ("many", "b")),
    ],
)
def test_choosing_an_output(output, chosen):
    call, key = saved_models.choose(CALLS, output)
    assert (call.signature, key) == chosen


def test_choosing_without_a_call_of_its_own():
    usual = {name: Call(name, "x", (), outputs=("y",)) for name in ("other", "serving_default")}
    assert saved_models.choose(usual, None)[0].signature == "serving_default"
    assert saved_models.choose({"any": usual["other"]}, None)[1] == "y"
    assert saved_models.choose({"": Call("", "x", ())}, None)[1] == ""


@pytest.mark.parametrize(
    ("calls", "output", "message"),
    [
        (CALLS, "many", "with the outputs 'a', 'b'. Given: 'many'. Choose one of 'many:.', 'many:.'"),
        (CALLS, "pool", "with the outputs 'default', 'pooled'. Given: 'pool'. Choose one of 'pooled'"),
        (CALLS, "many:c", "with the outputs 'a', 'b'"),
        ({"f": CALLS["many"], "g": CALLS["many"]}, None, "several signatures. Given: None. Choose one of 'f', 'g'"),
        ({"": Call("", "x", ())}, "pooled", "must say which output"),
        ({"": Call("", "x", (), training=frozenset({True}))}, None, "saved with training=False"),
    ],
)  # fmt: skip
def test_choosing_what_is_not_there(calls, output, message):
    with pytest.raises(checks.InputError, match=message):
        saved_models.choose(calls, output)


def test_copies_are_known_by_their_content(tmp_path):
    call = tf.function(lambda x: x, input_signature=[tf.TensorSpec([None, 4])])
    first = saved(tmp_path, call)
    digest = saved_models.keep(first)
    kept = saved_models.kept(digest)
    assert kept.is_relative_to(archives.scratch())
    shutil.copytree(first, tmp_path / "second")
    (tmp_path / "second" / "notes.txt").write_text("is no part of it")
    before = sorted(archives.scratch().iterdir())
    assert saved_models.keep(tmp_path / "second") == digest
    assert sorted(archives.scratch().iterdir()) == before, "the same content is kept once"
    index = tmp_path / "second" / "variables" / "variables.index"
    index.write_bytes(index.read_bytes()[:-1] + b"x")
    assert saved_models.keep(tmp_path / "second") != digest
    shutil.rmtree(first)
    assert saved_models.describe(kept).calls[""].input == "x"
    assert saved_models.kept("../" + digest) is None
    assert saved_models.kept(None) is None
