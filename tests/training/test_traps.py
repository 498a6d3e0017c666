"""What goes wrong when layers are thawed in plain Keras, and that it goes right here. Where each trap has its test:

| Trap | Test |
|---|---|
| flags set in a callback train nothing | test_callbacks: naive_callback_trains_nothing |
| ... and meet unknown variables at the next batch shape | a_new_batch_shape_meets_unknown_variables |
| compile, or a new step alone, in a callback | what_fails_in_a_callback |
| compile and a new step in a callback: averages are lost | compiling_in_a_callback_loses_the_averages |
| ... and on JAX it cannot work | test_callbacks: another_backend_is_an_error; gradual_thawing_needs_tensorflow, too |
| slots and counter carried over: Adam's first steps are too large | test_callbacks: first_step_on_thawed_weights |
| ... after 2,000 real steps, through stages | test_equalities: first_step_after_two_thousand |
| optimizer built on all variables: the same | an_optimizer_built_on_everything_steps_too_far |
| ... and with averages it breaks at the end of `fit` | averages_of_more_than_what_trains |
| the average of a thawed kernel starts at 0 | an_average_that_starts_at_zero_ruins_the_kernel |
| BackupAndRestore forgets the thawing | a_backup_in_the_second_stage_goes_on_frozen |
| ... leaves an epoch behind in the model | a_backup_leaves_its_epoch_in_the_model |
| ... and is gone between two fits | a_backup_is_gone_between_the_stages |
| frozen statistics stay, flat | test_freezing: frozen_is_bit_equal_and_unfrozen_moved |
| a frozen nested network, a subclassed model | a_frozen_nested_network_stays; a_subclassed_model_is_refused |
| `training=False` does not hold, nested | test_freezing: calling_with_training_false_does_not_freeze |
| ... flat, and after copying and loading | training_false_in_a_flat_graph_does_not_hold |
| `model.trainable = True` does nothing where it is True | trainable_on_a_model_does_nothing |
| a child of a frozen network trains | a_thawed_child_of_a_frozen_network_trains |
| frozen layers with dropout are not deterministic | frozen_layers_are_not_deterministic |
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_transfer as kt
from keras_transfer.core import checks
from keras_transfer.graphs import paths
from keras_transfer.training import freezing
from keras_transfer.training.run import state

pytestmark = pytest.mark.compiled

RNG = np.random.default_rng(0)
IMAGES = RNG.random((24, 8, 8, 3), "float32")
LABELS = np.arange(24) % 3
LOSS = "sparse_categorical_crossentropy"
KERNEL = "block2_conv/kernel"


def dataset(count=24, batch=24):
    """One batch, so one step an epoch, where nothing else is asked for."""
    return tf.data.Dataset.from_tensor_slices((IMAGES[:count], LABELS[:count])).batch(batch)


def trunk(dropout=0.0, **call):
    image = x = keras.Input((8, 8, 3))
    for number in (1, 2):
        x = keras.layers.Conv2D(4, 3, name=f"block{number}_conv")(x)
        x = keras.layers.Dropout(dropout, name=f"block{number}_drop")(x) if dropout else x
        x = keras.layers.BatchNormalization(name=f"block{number}_bn")(x, **call)
        x = keras.layers.Activation("relu", name=f"block{number}_relu")(x)
    return keras.Model(image, x, name="trunk")


def with_head(image, x):
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, keras.layers.Dense(3, activation="softmax", name="answer")(x))


def compiled(model, optimizer=None, *, traced=False):
    """Steps are traced only where that is what the trap is about: tracing takes longer than all the steps."""
    model.compile(
        optimizer or keras.optimizers.Adam(1e-2), LOSS, jit_compile=False, run_eagerly=not traced
    )
    return model


def build(optimizer=None, *, traced=False, **options):
    keras.utils.set_random_seed(0)
    base = trunk(**options)
    return compiled(with_head(base.input, base.output), optimizer, traced=traced)


def nested(optimizer=None, **call):
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3))
    return compiled(with_head(image, trunk()(image, **call)), optimizer)


def freeze(model):
    """As in the guides: everything but the head, layer by layer."""
    for layer in model.layers:
        layer.trainable = layer.name == "answer"


def thaw(model):
    for layer in model.layers:
        layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)


def frozen(optimizer=None, *, traced=False):
    model = build()
    freeze(model)
    return compiled(model, optimizer, traced=traced)


class At(keras.callbacks.Callback):
    """Calls a function at the beginning of one epoch."""

    def __init__(self, epoch, function):
        super().__init__()
        self.at, self.function = epoch, function

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.at:
            self.function(self.model)


def interrupted(_):
    raise KeyboardInterrupt


def weights(model):
    return {
        path: keras.ops.convert_to_numpy(variable)
        for path, variable in paths.variables(model).items()
    }


def moved(before, after):
    return {path for path in before if not np.array_equal(before[path], after[path])}


def distance(one, other):
    return max(float(np.abs(one[path] - other[path]).max()) for path in one)


def stages(**options):
    return [kt.Stage(epochs=2, train="head"), kt.Stage(epochs=2, **options)]


def fine_tuned(model, data=None, plan=None, **options):
    kt.fine_tune(model, data or dataset(), stages=plan or stages(), verbose=0, **options)
    return model


# Thawing in a callback.


def test_a_new_batch_shape_meets_unknown_variables():
    """The step is traced again, now with the thawed variables, which the optimizer does not know."""
    model = frozen(traced=True)
    model.fit(IMAGES[:16], LABELS[:16], batch_size=8, verbose=0)
    thaw(model)
    with pytest.raises(ValueError, match="Unknown variable: <Variable path=block1_conv/kernel"):
        model.fit(IMAGES[:12], LABELS[:12], batch_size=8, verbose=0)
    ours = build(traced=True)
    before = weights(ours)
    fine_tuned(ours, dataset(12, batch=8))
    assert KERNEL in moved(before, weights(ours))


def test_what_fails_in_a_callback():
    def compiling(model):
        thaw(model)
        compiled(model, traced=True)

    def tracing(model):
        thaw(model)
        model.make_train_function(force=True)

    for naive, error, message in (
        (compiling, TypeError, "'NoneType' object is not callable"),
        (tracing, ValueError, "Unknown variable: <Variable path=block1_conv/kernel"),
    ):
        with pytest.raises(error, match=message):
            frozen(traced=True).fit(
                dataset(), shuffle=False, epochs=2, callbacks=[At(1, naive)], verbose=0
            )
    model = build(traced=True)
    before = weights(model)
    model.fit(
        dataset(),
        shuffle=False,
        epochs=2,
        callbacks=[kt.TwoStage(unfreeze_at=1, verbose=False)],
        verbose=0,
    )
    assert KERNEL in moved(before, weights(model))


def test_compiling_in_a_callback_loses_the_averages():
    """Two fits end the first one with its averages in the model; a new optimizer in between drops them."""

    def adam(rate=1e-2):
        return keras.optimizers.Adam(rate, use_ema=True, ema_momentum=0.9)

    def again(model):
        thaw(model)
        compiled(model, adam(1e-6))
        model.make_train_function()

    naive, two, ours = frozen(adam()), frozen(adam()), build(adam())
    naive.fit(dataset(), shuffle=False, epochs=3, callbacks=[At(2, again)], verbose=0)
    two.fit(dataset(), shuffle=False, epochs=2, verbose=0)
    thaw(two)
    compiled(two, adam(1e-6)).fit(dataset(), shuffle=False, verbose=0)
    callback = kt.TwoStage(unfreeze_at=2, learning_rate=1e-6, verbose=False)
    ours.fit(dataset(), shuffle=False, epochs=3, callbacks=[callback], verbose=0)
    assert distance(weights(naive), weights(two)) > 1e-3
    assert distance(weights(ours), weights(two)) <= 1e-6


# The optimizer.


def test_an_optimizer_built_on_everything_steps_too_far():
    """Thawed variables have slots already, but zeros in them and no bias correction any more."""
    variable, head = (
        keras.Variable(np.ones(4, "float32"), name=name) for name in ("thawed", "head")
    )
    optimizer = keras.optimizers.Adam(1e-3)
    optimizer.build([head, variable])
    ones = tf.ones(4)
    optimizer.apply([ones], [head])
    optimizer.iterations.assign(2000)
    before = np.asarray(variable)
    optimizer.apply([ones, ones], [head, variable])
    assert (before - np.asarray(variable)).min() / 1e-3 > 2.5
    model = build()
    seen = []
    see = keras.callbacks.LambdaCallback(on_train_begin=lambda logs: seen.append(model.optimizer))
    fine_tuned(model, callbacks=[see])
    assert len(seen[0]._trainable_variables) == 2
    assert seen[1] is not seen[0]
    assert int(seen[1].iterations) == 2


def test_averages_of_more_than_what_trains():
    """They are paired with the weights by position at the end of `fit`."""
    model = build()
    optimizer = keras.optimizers.Adam(1e-2, use_ema=True)
    optimizer.build(model.trainable_variables)
    freeze(model)
    with pytest.raises(ValueError, match="average|moving|length|shape"):
        compiled(model, optimizer).fit(dataset(), shuffle=False, verbose=0)
    ours = build()
    fine_tuned(ours, plan=[kt.Stage(epochs=1, train="head", ema=0.9), kt.Stage(epochs=1, ema=0.9)])
    optimizer = ours.optimizer
    assert [id(one) for one in optimizer._trainable_variables] == [
        id(one) for one in ours.trainable_variables
    ]
    for variable, average in zip(
        ours.trainable_variables, optimizer._model_variables_moving_average, strict=True
    ):
        np.testing.assert_array_equal(variable, average)


def test_an_average_that_starts_at_zero_ruins_the_kernel():
    def adam():
        return keras.optimizers.Adam(1e-4, use_ema=True, ema_momentum=0.99)

    naive = frozen(adam())
    naive.fit(dataset(), shuffle=False, verbose=0)
    before = np.linalg.norm(weights(naive)[KERNEL])
    thaw(naive)
    counter = int(naive.optimizer.iterations)
    compiled(naive, adam())
    naive.optimizer.build(naive.trainable_variables)
    naive.optimizer.iterations.assign(counter)  # that is what carrying the state over amounts to
    naive.fit(dataset(), shuffle=False, verbose=0)
    assert np.linalg.norm(weights(naive)[KERNEL]) < 0.1 * before
    for ours in (
        fine_tuned(
            build(), plan=[kt.Stage(epochs=1, train="head", ema=0.99), kt.Stage(epochs=1, ema=0.99)]
        ),
        build(adam()),
    ):
        if int(ours.optimizer.iterations) == 0:
            ours.fit(
                dataset(),
                shuffle=False,
                epochs=2,
                callbacks=[kt.TwoStage(unfreeze_at=1, verbose=False)],
                verbose=0,
            )
        assert np.linalg.norm(weights(ours)[KERNEL]) == pytest.approx(before, rel=0.01)


# Going on after a kill. In a fresh process the model is as it was built, so a new one stands for that.


def thawing(model):
    thaw(model)
    compiled(model)
    model.make_train_function()


def test_a_backup_in_the_second_stage_goes_on_frozen(tmp_path):
    def run(*callbacks):
        model = frozen()
        before = weights(model)
        backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
        model.fit(
            dataset(),
            shuffle=False,
            epochs=4,
            callbacks=[backup, At(2, thawing), *callbacks],
            verbose=0,
        )
        return before, weights(model)

    with pytest.raises(KeyboardInterrupt):
        run(At(3, interrupted))
    loaded = []
    with pytest.warns(UserWarning, match="Skipping variable loading for optimizer"):
        _, after = run(At(3, lambda model: loaded.append(weights(model))))
    assert moved(loaded[0], after) >= {"answer/kernel", "answer/bias"}
    assert KERNEL not in moved(loaded[0], after), "the naive callback thawed after all"

    unbroken, ours = fine_tuned(build()), build()
    with pytest.raises(KeyboardInterrupt):
        fine_tuned(ours, run_dir=tmp_path / "run", callbacks=[At(3, interrupted)])
    ours = fine_tuned(build(), run_dir=tmp_path / "run", resume=True)
    assert distance(weights(ours), weights(unbroken)) == 0.0


def test_a_backup_leaves_its_epoch_in_the_model(tmp_path):
    model = build()
    epochs = []
    see = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: epochs.append(epoch))
    for last in ([At(3, interrupted)], []):
        backup = keras.callbacks.BackupAndRestore(tmp_path)
        try:
            model.fit(dataset(), shuffle=False, epochs=4, callbacks=[backup, *last], verbose=0)
        except KeyboardInterrupt:
            continue
    model.fit(dataset(), shuffle=False, initial_epoch=5, epochs=6, callbacks=[see], verbose=0)
    assert epochs == [3, 4, 5], "Keras has changed: `initial_epoch` counts"
    epochs.clear()
    fine_tuned(model, callbacks=[see])
    assert epochs == [0, 1, 2, 3]


def test_a_backup_is_gone_between_the_stages(tmp_path):
    model = frozen()
    model.fit(
        dataset(),
        shuffle=False,
        epochs=2,
        callbacks=[keras.callbacks.BackupAndRestore(tmp_path / "backup")],
        verbose=0,
    )
    assert not (tmp_path / "backup").exists()

    class Between(keras.callbacks.Callback):
        begun = 0

        def on_train_begin(self, logs=None):
            self.begun += 1
            if self.begun == 2:
                raise KeyboardInterrupt

    unbroken = fine_tuned(build())
    with pytest.raises(KeyboardInterrupt):
        fine_tuned(build(), run_dir=tmp_path / "run", callbacks=[Between()])
    assert (tmp_path / "run" / state.FILE).is_file()
    epochs = []
    see = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: epochs.append(epoch))
    ours = fine_tuned(build(), run_dir=tmp_path / "run", resume=True, callbacks=[see])
    assert epochs == [2, 3]
    assert distance(weights(ours), weights(unbroken)) == 0.0


# Batch normalisation and flags.


def statistics_moved(model):
    before = weights(model)
    model.fit(dataset(), shuffle=False, verbose=0)
    return {path.rpartition("/")[2] for path in moved(before, weights(model)) if "_bn/" in path}


def test_a_frozen_nested_network_stays():
    model = nested()
    model.get_layer("trunk").trainable = False
    assert statistics_moved(compiled(model)) == set()
    kt.unfreeze(model)
    assert statistics_moved(compiled(model)) == set()
    kt.unfreeze(model, batch_norm="train")
    assert statistics_moved(compiled(model)) == {"gamma", "beta", "moving_mean", "moving_variance"}


def saved(model, folder):
    model.save(folder / "model.keras")
    return keras.models.load_model(folder / "model.keras", compile=False)


@pytest.mark.parametrize("how", ["built", "cloned", "loaded"])
def test_training_false_in_a_flat_graph_does_not_hold(how, tmp_path):
    model = build(training=False)
    if how != "built":
        model = keras.models.clone_model(model) if how == "cloned" else saved(model, tmp_path)
    assert {"moving_mean", "moving_variance"} <= statistics_moved(compiled(model)), (
        "Keras has changed: it holds now"
    )
    before = weights(model)
    fine_tuned(model)
    after = moved(before, weights(model))
    assert KERNEL in after
    assert not any("_bn/" in path for path in after)


def test_our_flags_survive_copying_and_loading(tmp_path):
    model = nested()
    kt.freeze(model, below="answer")
    for other in (saved(compiled(model), tmp_path), keras.models.clone_model(model)):
        assert statistics_moved(compiled(other)) == set()
        assert [
            row["path"] for row in kt.trainable_table(other, layers=True) if row["trainable"]
        ] == ["answer"]


def test_a_subclassed_model_is_refused():
    """There, `training=False` does hold; but there is no graph to tell what lies above what."""

    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.base, self.pool = trunk(), keras.layers.GlobalAveragePooling2D()
            self.answer = keras.layers.Dense(3, activation="softmax")

        def call(self, images):
            return self.answer(self.pool(self.base(images, training=False)))

    model = compiled(Own())
    model.fit(dataset(), shuffle=False, verbose=0)
    for norm in ("block1_bn", "block2_bn"):
        np.testing.assert_array_equal(model.base.get_layer(norm).moving_mean, np.zeros(4))
    for call in (
        lambda: fine_tuned(model),
        lambda: kt.freeze(model, below="answer"),
        lambda: model.fit(
            dataset(), shuffle=False, callbacks=[kt.TwoStage(unfreeze_at=1)], verbose=0
        ),
    ):
        with pytest.raises(
            checks.InputError, match="functional or built sequential keras.Model. Given: Own"
        ):
            call()


def test_trainable_on_a_model_does_nothing_where_it_is_true():
    model = build()
    norm = model.get_layer("block1_bn")
    norm.trainable = False
    model.trainable = True
    assert not norm.trainable, "Keras has changed: the flag is passed on now"
    kt.unfreeze(model, batch_norm="train")
    assert norm.trainable
    norm.trainable = False
    freezing.set_trainable(model, freezing.pick(model, "all"), batch_norm="train")
    assert norm.trainable
    fine_tuned(model, plan=[kt.Stage(epochs=1, batch_norm="train")])
    assert norm.trainable


def test_a_thawed_child_of_a_frozen_network_trains():
    model = nested()
    base = model.get_layer("trunk")
    base.trainable = False
    base.get_layer("block1_conv").trainable = True
    before = weights(model)
    compiled(model).fit(dataset(), shuffle=False, verbose=0)
    assert not base.trainable
    assert "trunk/block1_conv/kernel" in moved(before, weights(model))
    table = {row["path"]: row["trainable"] for row in kt.trainable_table(model, layers=True)}
    assert [path for path, trains in table.items() if trains] == ["trunk/block1_conv", "answer"]
    before = weights(model)
    fine_tuned(model, plan=[kt.Stage(epochs=1, train="head")])
    assert moved(before, weights(model)) == {"answer/kernel", "answer/bias"}
    kt.freeze(model, below="answer")
    assert [row["path"] for row in kt.trainable_table(model, layers=True) if row["trainable"]] == [
        "answer"
    ]


def test_frozen_layers_are_not_deterministic():
    """Dropout draws all the same. So statistics are estimated, and heads solved for, without it."""
    model = build(dropout=0.5)
    model.trainable = False
    one, two = (np.asarray(model(IMAGES, training=True)) for _ in range(2))
    assert np.abs(one - two).max() > 1e-3, "Keras has changed: frozen dropout rests"

    found, start = [], {}
    for dropout in (0.5, 0.5, 0.0):
        model = kt.build_model(trunk(dropout), kt.tasks.Classification(3))
        for path, variable in paths.variables(model).items():
            variable.assign(start.setdefault(path, keras.ops.convert_to_numpy(variable)))
        freezing.set_trainable(model, [])
        kt.training.recalibrate(model, dataset(batch=8))
        fine_tuned(model, plan=[kt.Stage(solve=True, train="head")])
        found.append({path: value for path, value in weights(model).items() if "seed" not in path})
    assert distance(found[0], found[1]) == 0.0
    assert distance(found[0], found[2]) <= 1e-5
    assert found[0]["block1_bn/moving_mean"].any()
