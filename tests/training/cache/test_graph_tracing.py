"""What the traced graph tells of frozen layers: whether they are the same in every epoch, and their key."""

import functools
import operator
import runpy
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_transfer.training.cache import frozen, graph_tracing

pytestmark = pytest.mark.compiled

SCALE = 1.0
TABLE = np.ones(3, "float32")


def trace(*layers, shape=(4,), **options):
    """Traces frozen layers below a head that trains, with what may be cached of them."""
    head = keras.layers.Dense(2, name="head")
    model = keras.Sequential([keras.Input(shape), *layers, keras.layers.Flatten(), head])
    for layer in model.layers[:-1]:
        layer.trainable = False
    candidates = frozen.candidates(model)
    images = tf.TensorSpec((None, *shape))
    made = graph_tracing.Trace(model, candidates.positions, images, **options)
    return made, frozen.find(model, candidates, made.unstable)


def dense():
    return keras.layers.Dense(3, kernel_initializer="ones")


def key(layer, **options):
    made, part = trace(layer, dense(), **options)
    assert made.unstable == {}
    return made.key(part.crossing)


def reasons(layer, **options):
    made, _ = trace(layer, dense(), **options)
    return list(made.unstable.values())


# What code uses is in the key, wherever it stands.


def helper(pixels, more=0.0):
    return pixels * SCALE + more


def outer(pixels):
    return helper(pixels) + TABLE[0]


@functools.wraps(keras.activations.relu)
def decorated(pixels):
    """Says that it is Keras's."""
    return outer(pixels)


class Base(keras.layers.Layer):
    def call(self, inputs):
        return outer(inputs)


class Derived(Base):
    def build(self, shape):
        self.built = True


class Known(keras.layers.Layer):
    """A layer whose settings do not tell all."""

    def __init__(self, scale, **options):
        super().__init__(**options)
        self.scale = scale

    def call(self, inputs):
        return inputs * self.scale


@pytest.mark.parametrize(
    "make",
    [
        lambda: keras.layers.Lambda(outer),
        Derived,
        lambda: keras.layers.Dense(3, kernel_initializer="ones", activation=outer),
        lambda: keras.layers.Activation(outer),
        lambda: keras.layers.Lambda(tf.function(outer)),
        lambda: keras.layers.Lambda(decorated),
        lambda: keras.layers.Lambda(functools.partial(lambda pixels, then: then(pixels), then=outer)),
        lambda: keras.layers.Lambda(lambda pixels: tf.map_fn(outer, pixels)),
    ],
    ids=["lambda", "base", "dense", "activation", "function", "decorated", "partial", "loop"],
)  # fmt: skip
def test_what_code_uses_is_in_the_key(make, monkeypatch):
    first = key(make())
    assert key(make()) == first
    with monkeypatch.context() as changed:
        changed.setitem(globals(), "SCALE", -3.0)
        assert key(make()) != first
    with monkeypatch.context() as changed:
        changed.setitem(globals(), "TABLE", np.full(3, 2.0, "float32"))
        assert key(make()) != first
    assert key(make()) == first


class Methods(keras.layers.Layer):
    """All ways in which a class holds code."""

    rate = 2.0

    @staticmethod
    def plain(x):
        return x * SCALE

    @classmethod
    def of(cls, x):
        return x * cls.rate

    @property
    def width(self):
        return TABLE[1]

    def call(self, inputs, *, power=2.0):
        parts = [self.plain(inputs), self.of(inputs), *map(lambda x: x**power, [inputs])]  # noqa: C417
        return sum(parts) * self.width


def test_all_kinds_of_methods_defaults_and_functions_within_are_in_the_key(monkeypatch):
    first = key(Methods())
    assert key(Methods()) == first
    for name, value in (("SCALE", 2.0), ("TABLE", np.full(3, 5.0, "float32"))):
        with monkeypatch.context() as changed:
            changed.setitem(globals(), name, value)
            assert key(Methods()) != first
    for name, value in (
        ("rate", 3.0),
        ("width", property(lambda self: 7.0)),
        ("plain", staticmethod(lambda x: -x)),
        ("of", classmethod(lambda cls, x: -x)),
    ):
        with monkeypatch.context() as changed:
            changed.setattr(Methods, name, value)
            assert key(Methods()) != first
    monkeypatch.setitem(Methods.call.__kwdefaults__, "power", 3.0)
    assert key(Methods()) != first


def test_a_module_beside_the_script_is_in_the_key(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "beside_it.py").write_text("RATE = 4\n\n\ndef blur(x):\n    return x * RATE\n")
    import beside_it

    def through(x):
        return beside_it.blur(x) + beside_it.RATE + float(np.mean([1.0, 2.0]))

    first = key(keras.layers.Lambda(through))
    assert key(keras.layers.Lambda(through)) == first
    monkeypatch.setattr(beside_it, "RATE", 5)
    assert key(keras.layers.Lambda(through)) != first
    del sys.modules["beside_it"]


def test_what_is_installed_is_in_the_key_by_what_it_does(monkeypatch):
    """A release of another package that computes something else has another key."""
    from scipy import special

    layer = functools.partial(keras.layers.Lambda, lambda x: x * special.comb(4, 2))
    first = key(layer())
    assert key(layer()) == first
    monkeypatch.setattr(special, "comb", lambda *numbers: 7.0)
    assert key(layer()) != first


class Touchy(dict):
    __getattr__ = dict.__getitem__


TOUCHY = Touchy(scale=2.0)


def test_values_that_are_hard_to_look_at(monkeypatch):
    layer = functools.partial(keras.layers.Lambda, lambda x: x * TOUCHY.scale)
    first = key(layer())
    monkeypatch.setitem(TOUCHY, "scale", 3.0)
    assert key(layer()) != first


def test_attributes_and_layers_within_code_are_in_the_key():
    assert key(Known(1.0)) == key(Known(1.0)) != key(Known(2.0))
    inner = dense()
    inner.build((None, 4))
    hashes = []
    for scale in (1.0, 1.0, 2.0):
        inner.kernel.assign(scale * np.ones((4, 3)))
        hashes.append(key(keras.layers.Lambda(lambda x: inner(x))))
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.parametrize(
    "functions",
    [
        (keras.ops.sin, keras.ops.cos),
        (tf.math.sin, tf.math.cos),
        (functools.partial(helper, 1.0), functools.partial(helper, 2.0)),
        (functools.partial(outer), functools.partial(helper)),
        (Known(1.0).call, Known(2.0).call),
    ],
    ids=["Keras", "TensorFlow", "arguments", "partial", "method"],
)
def test_functions_are_told_apart(functions):
    first, second = (
        [key(keras.layers.Lambda(each, output_shape=(4,))) for _ in range(2)] for each in functions
    )
    assert first[0] == first[1] != second[0] == second[1]


def test_weights_constants_and_types_are_in_the_key():
    first = key(dense())
    assert key(keras.layers.Dense(3, kernel_initializer="ones", name="other")) == first
    assert key(keras.layers.Dense(3, kernel_initializer="zeros")) != first
    assert key(keras.layers.Dense(3, kernel_initializer="ones", use_bias=False)) != first
    assert key(keras.layers.Dense(3, kernel_initializer="ones", dtype="mixed_bfloat16")) != first
    table = [tf.constant(np.arange(200.0), "float32") for _ in range(2)]  # captured, not copied
    layers = [keras.layers.Lambda(lambda x, at=each: x * at[1]) for each in table]
    assert key(layers[0]) == key(layers[1])


SCRIPT = """
import dataclasses, keras, operator
import tensorflow as tf
from keras_transfer.training.cache import frozen, graph_tracing

@dataclasses.dataclass
class Settings:
    width: int = 3

class Plain:
    width = 2

SKIP, THING = {"a", "b", "c"}, Plain()

def within(x):
    return x if "d" in SKIP else x * THING.width * Settings().width

def make():
    inner = lambda x: within(x)
    return keras.layers.Lambda(lambda x: inner(x), output_shape=(4,))

@tf.function
def loop(x):
    for _ in tf.range(3):
        x = x + 1.0 if tf.reduce_sum(x) > 0 else -x
    return x

def key():
    dense = keras.layers.Dense(2, kernel_initializer="ones", activation=within, trainable=False)
    layers = [make(), dense, keras.layers.Lambda(loop), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((4,)), *layers])
    candidates = frozen.candidates(model)
    trace = graph_tracing.Trace(model, candidates.positions, tf.TensorSpec((None, 4)))
    return trace.key(frozen.find(model, candidates, trace.unstable).crossing)

assert key() == key()
print(key())
"""


AS_MAIN = """
import runpy, sys
runpy.run_path(sys.argv[1], run_name="__main__")
"""


def test_another_process_has_the_same_key(tmp_path, run_code):
    """It has other hashes of strings, too."""
    file = tmp_path / "script.py"
    file.write_text(SCRIPT)
    other = run_code(AS_MAIN, file)
    assert other.returncode == 0, other.stderr[-2000:]
    assert runpy.run_path(str(file))["key"]() == other.stdout.strip()
    assert len(other.stdout) == 65


# Code that cannot be read.


def test_a_compiled_function():
    """It has no Python source, but adds operations to the graph."""
    layers = [keras.layers.Lambda(each) for each in (operator.neg, operator.neg, operator.abs)]
    first, second, other = map(key, layers)
    assert first == second != other
    doubled = [functools.partial(operator.mul, value) for value in (2.0, 2.0, 3.0)]
    first, second, other = (key(keras.layers.Lambda(each)) for each in doubled)
    assert first == second != other


class Scaler:
    """A callable object that may be noisy."""

    def __init__(self, scale, noise=0.0):
        self.scale, self.noise = scale, noise

    def __call__(self, inputs):
        if self.noise:
            inputs += self.noise * keras.random.normal(keras.ops.shape(inputs))
        return inputs * self.scale


def test_a_callable_object():
    layers = [keras.layers.Lambda(Scaler(scale), output_shape=(4,)) for scale in (2.0, 2.0, 3.0)]
    first, second, other = map(key, layers)
    assert first == second != other
    noisy = keras.layers.Lambda(Scaler(2.0, noise=0.1), output_shape=(4,), name="noisy")
    assert reasons(noisy) == ["'noisy' draws at random in training"]


def from_text(body):
    names = {"keras": keras, "tf": tf}
    code = f"class Made(keras.layers.Layer):\n    def call(self, inputs):\n        {body}"
    exec(code, names)
    return names["Made"](name="made")


def test_a_layer_from_exec():
    first, second, other = map(
        key, map(from_text, ["return inputs * 2.0"] * 2 + ["return -inputs"])
    )
    assert first == second != other
    noisy = from_text("return inputs + tf.random.uniform(tf.shape(inputs))")
    assert reasons(noisy) == ["'made' draws at random in training"]


@pytest.mark.parametrize("call", [tf.numpy_function, tf.py_function], ids=["numpy", "eager"])
def test_python_code_within_the_graph(call):
    layer = keras.layers.Lambda(
        lambda x: tf.ensure_shape(call(np.negative, [x], tf.float32), x.shape),
        output_shape=(4,),
        name="python",
    )
    (reason,) = reasons(layer)
    assert reason.startswith("'python' calls Python code that TensorFlow cannot look into (")


class Counting(keras.layers.Layer):
    def build(self, shape):
        self.count = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, inputs):
        self.count.assign_add(1.0)
        return inputs * self.count


def test_a_counter_in_a_nested_model():
    inner = keras.Sequential([keras.Input((4,)), dense(), Counting(name="count")], name="inner")
    made, part = trace(keras.Sequential([keras.Input((4,)), inner], name="middle"), dense())
    (reason,) = made.unstable.values()
    assert reason == "'count' has a state that may change in every step (AssignVariableOp)"
    assert (part.crossing, part.reason) == ((), reason)


# Whether it is the same in every epoch.


def drawing(x):
    return x + tf.random.uniform(tf.shape(x))


@tf.function
def drawing_in_a_loop(x):
    for _ in tf.range(2):
        x = drawing(x) if tf.reduce_sum(x) > 0 else x
    return x


@pytest.mark.parametrize(
    "function",
    [
        drawing,
        tf.function(drawing),
        drawing_in_a_loop,
        lambda x: tf.map_fn(drawing, x),
        lambda x: tf.grad_pass_through(drawing)(x),
    ],
    ids=["plain", "function", "loop", "map", "gradient"],
)
def test_functions_within_the_graph_are_looked_into(function):
    layer = keras.layers.Lambda(function, output_shape=(4,), name="lambda")
    assert reasons(layer) == ["'lambda' draws at random in training"]


def test_checks_and_tables_only_read():
    lookup = keras.layers.Lambda(lambda x: tf.debugging.check_numerics(x, "bad"))
    assert key(lookup) == key(keras.layers.Lambda(lambda x: tf.debugging.check_numerics(x, "bad")))
    embedding = keras.layers.Embedding(9, 3, embeddings_initializer="ones")
    assert reasons(embedding) == []


def test_stateless_draws_are_the_same_in_every_epoch():
    layer = keras.layers.Lambda(lambda x: x + tf.random.stateless_uniform((4,), [1, 2]))
    assert reasons(layer) == []


def test_what_differs_between_training_and_inference():
    class Doubling(keras.layers.Layer):
        def call(self, inputs, training=None):
            return inputs * 2 if training else inputs

    class Block(keras.layers.Layer):
        def __init__(self):
            super().__init__(name="block")
            self.inner = Doubling()

        def call(self, inputs):
            return self.inner(inputs)

    told = "gives something else in training, or each time"
    assert reasons(Doubling(name="doubling")) == [f"'doubling' {told}"]
    assert reasons(Block()) == [f"'block' {told}"]


def test_what_python_draws_while_it_is_traced():
    layer = keras.layers.Lambda(lambda x: x * float(np.random.uniform()), name="drawn")
    assert reasons(layer) == ["'drawn' gives something else in training, or each time"]


def test_added_losses():
    class Sparse(keras.layers.Layer):
        def call(self, inputs):
            self.add_loss(keras.ops.mean(keras.ops.abs(inputs)))
            return inputs

    assert reasons(Sparse(name="sparse")) == ["'sparse' adds a loss of its own"]
    regularised = keras.layers.Dense(3, activity_regularizer="l2", name="dense")
    assert reasons(regularised) == ["'dense' adds a loss of its own"]
    assert reasons(keras.layers.Dense(3, kernel_regularizer="l2")) == []  # frozen weights add none


def test_variables_that_others_change():
    head = keras.layers.Dense(3, name="tied")
    head.build((None, 4))
    reader = keras.layers.Lambda(
        lambda x: x @ keras.ops.convert_to_tensor(head.kernel), name="reader"
    )
    assert reasons(reader) == []
    assert reasons(reader, changing=head.variables) == ["'reader' reads variables that change"]
    counting = Counting()
    counting.build((None, 4))
    image = keras.Input((4,))
    both = [
        keras.layers.Lambda(lambda x: x + counting.count, name="before")(image),
        counting(image),
    ]
    model = keras.Model(image, keras.layers.Dense(1)(dense()(keras.layers.Add()(both))))
    made = graph_tracing.Trace(model, range(4), tf.TensorSpec((None, 4)))
    assert "'before' reads variables that change" in made.unstable.values()


# The graph that was traced is the one that runs.


def test_the_pass_runs_the_traced_graph_without_what_is_unstable():
    calls = []

    class Counted(keras.layers.Layer):
        def call(self, inputs):
            calls.append(1)
            return inputs * 2.0

    drop = keras.layers.Dropout(0.5, seed=1)
    made, part = trace(Counted(), dense(), drop)
    assert next(iter(made.unstable.values())).startswith("'dropout")
    before, count = drop.seed_generator.state.numpy(), len(calls)
    made.key(part.crossing)
    function = made.function({"dense": part.crossing[0]})
    pixels = np.arange(8.0, dtype="float32").reshape(2, 4)
    assert np.array_equal(
        function(tf.constant(pixels))["dense"], 2 * pixels.sum(1)[:, None] * [1, 1, 1]
    )
    assert np.array_equal(drop.seed_generator.state.numpy(), before)
    assert len(calls) == count  # not traced again


def test_functions_that_run_eagerly_do_so_here_too():
    made, part = trace(dense(), keras.layers.Dropout(0.5))
    tf.config.run_functions_eagerly(True)
    try:
        function = made.function({"dense": part.crossing[0]})
        assert np.array_equal(function(tf.ones((2, 4)))["dense"], np.full((2, 3), 4.0))
    finally:
        tf.config.run_functions_eagerly(False)


def test_what_lies_behind_dropout_is_known_in_inference():
    """The heads that are solved for, say."""
    drop = keras.layers.Dropout(0.5)
    made, _ = trace(dense(), drop, inference=True)
    assert not made.gives([drop.output])
    assert made.gives([drop.output], inference=True)
    values = made.function({"drop": drop.output})(tf.ones((2, 4)))["drop"]
    assert np.array_equal(values, np.full((2, 3), 4.0))


def test_images_may_pass_the_frozen_part_by():
    image = keras.Input((4,))
    both = keras.layers.Concatenate()([dense()(image), image])
    frozen_top = keras.layers.Concatenate(name="both")([both, image])
    model = keras.Model(image, keras.layers.Dense(2, name="head")(frozen_top))
    model.layers[1].trainable = False
    (wanted,) = [layer.output for layer in model.layers if layer.name == "both"]
    made = graph_tracing.Trace(model, range(4), tf.TensorSpec((None, 4)))
    values = made.function({"both": wanted, "image": image})(tf.ones((2, 4)))
    assert np.array_equal(values["both"], [[4.0] * 3 + [1.0] * 8] * 2)
    assert np.array_equal(values["image"], np.ones((2, 4)))
