"""Training with missing labels equals training on what has a label."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from networks import small

import keras_transfer as kt
from keras_transfer.core import checks
from keras_transfer.graphs import paths
from keras_transfer.training import inputs
from keras_transfer.training.methods import solved_head

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (24, 32, 32, 3), dtype="uint8")
KINDS = np.arange(24) % 3
AGES = (20 + 10 * RNG.normal(size=24)).astype("float32")
HAS = RNG.permutation(np.arange(24) % 3 > 0)  # 16 of 24
HEAD = kt.Stage(epochs=3, train="head", learning_rate=1e-2, optimizer="sgd")


def blank(values, has=HAS):
    """The column with None where there is no label."""
    return [value if there else None for value, there in zip(values.tolist(), has, strict=True)]


def arrays(labels, rows=slice(None), **options):
    return kt.data.from_arrays(
        PIXELS[rows], labels, **{"validation": None, "batch_size": 24, **options}
    )


def model_of(task=None):
    keras.utils.set_random_seed(0)
    return kt.build_model(small(), task or kt.tasks.Classification(3))


def values(model):
    return {path: np.asarray(value).copy() for path, value in paths.variables(model).items()}


def close(one, other, tolerance=1e-6):
    for path, value in values(one).items():
        found = values(other)[path]
        np.testing.assert_allclose(
            value, found, rtol=tolerance, atol=tolerance * max(1, abs(found).max()), err_msg=path
        )


TASKS = {
    "classes": (lambda: kt.tasks.Classification(3), KINDS),
    "balanced": (
        lambda: kt.tasks.Classification(3, class_weights="balanced"),
        np.where(np.arange(24) < 3, KINDS, 1),
    ),
    "adjusted": (
        lambda: kt.tasks.Classification(3, loss="logit_adjusted"),
        np.where(np.arange(24) < 3, KINDS, 1),
    ),
    "focal": (lambda: kt.tasks.Classification(3, loss="focal", label_smoothing=0.1), KINDS),
    "numbers": (lambda: kt.tasks.Regression(), AGES),
}


@pytest.mark.parametrize("name", TASKS)
def test_equals_training_on_the_labelled_images_only(name):
    """One batch an epoch, so that the batches are the same but for what has no label."""
    make, labels = TASKS[name]
    has = HAS | (np.arange(24) < 3)
    found = []
    for data in (arrays(blank(labels, has)), arrays(labels[has], has, batch_size=int(has.sum()))):
        model = model_of(make())
        history = kt.fine_tune(model, data, stages=[HEAD], seed=0, verbose=0).history
        found.append((model, history))
    (mine, history), (other, expected) = found
    close(mine, other)
    assert set(history) == set(expected)
    for key, curve in history.items():
        np.testing.assert_allclose(curve, expected[key], rtol=2e-6, err_msg=key)
    assert len(expected["loss"]) == 3


@pytest.mark.parametrize(
    ("cache", "name"),
    [
        ("off", "balanced"),
        ("off", "numbers"),
        ("memory", "classes"),
        ("memory", "adjusted"),
        ("memory", "numbers"),
    ],
)
def test_a_head_is_solved_for_on_the_labelled_rows(name, cache):
    make, labels = TASKS[name]
    has = HAS | (np.arange(24) < 3)
    found = []
    for data in (arrays(blank(labels, has)), arrays(labels[has], has)):
        model = model_of(make())
        stages = [kt.Stage(solve=True, train="head")]
        record = kt.fine_tune(model, data, stages=stages, seed=0, cache=cache, verbose=0).record
        found.append((model, record["stages"][0]["solved"]))
    close(found[0][0], found[1][0], 1e-5)
    for fact in ("strength", "chosen_by"):
        assert found[0][1][fact] == found[1][1][fact]


def test_a_head_is_solved_for_on_a_plain_dataset_with_masks():
    dataset = tf.data.Dataset.from_tensor_slices(
        (PIXELS, KINDS * HAS, HAS.astype("float32"))
    ).batch(5)
    validation = tf.data.Dataset.from_tensor_slices(
        (PIXELS, KINDS * HAS, HAS.astype("float32"))
    ).batch(5)
    mine, other = model_of(), model_of()
    solved_head.solve_heads(mine, inputs.check(mine, inputs.inputs((dataset, validation))))
    labelled = tf.data.Dataset.from_tensor_slices((PIXELS[HAS], KINDS[HAS])).batch(5)
    solved_head.solve_heads(other, inputs.check(other, inputs.inputs((labelled, labelled))))
    close(mine, other, 1e-5)


def test_other_weights_are_not_solved_with():
    features = RNG.normal(size=(24, 6))
    with pytest.raises(checks.InputError, match="`weights` must be 0 or 1"):
        kt.training.solve_head(model_of(), features, KINDS, weights=np.full(24, 0.5))


def test_without_labels_in_validation_a_head_is_cross_validated():
    features = RNG.normal(size=(24, 6)).astype("float32")
    facts = kt.training.solve_head(
        model_of(), features, KINDS, features, KINDS, val_weights=np.zeros(24), folds=3
    )
    assert facts["chosen_by"] == "3 folds"


def two():
    """Images with a class, and others with a number: disjoint."""
    first = np.arange(24) < 14
    return arrays(
        {"kind": blank(KINDS, first), "age": np.where(first, np.nan, AGES)}, batch_size=8
    ), first


def two_tasks():
    return model_of({"kind": kt.tasks.Classification(3), "age": kt.tasks.Regression()})


def step(model, images, targets, weights=None):
    with tf.GradientTape() as tape:
        loss = model.compute_loss(
            x=None, y=targets, y_pred=model(images, training=False), sample_weight=weights
        )
    return float(loss), tape.gradient(
        loss, [variable.value for variable in model.trainable_variables]
    )


def test_two_tasks_with_disjoint_labels_are_each_trained_on_their_own_images():
    data, first = two()
    model = two_tasks()
    kt.compile(model, data=data)
    spread = data.targets["train"]["age"][~first]
    np.testing.assert_allclose(model.loss["age"].scale, [spread.std()], rtol=1e-5)
    np.testing.assert_allclose(
        np.asarray(model.get_layer("age").offset), [spread.mean()], rtol=1e-5
    )
    images, weights = PIXELS.astype("float32"), data.weights["train"]
    loss, gradients = step(model, images, data.targets["train"], weights)
    parts = []
    for name, rows in (("kind", first), ("age", ~first)):
        with tf.GradientTape() as tape:
            answers = model(images[rows], training=False)[name]
            part = model.loss[name](data.targets["train"][name][rows], answers)
        variables = [variable.value for variable in model.trainable_variables]
        parts.append((float(part), tape.gradient(part, variables, unconnected_gradients="zero")))
    np.testing.assert_allclose(loss, parts[0][0] + parts[1][0], rtol=1e-6)
    for found, one, other in zip(gradients, parts[0][1], parts[1][1], strict=True):
        np.testing.assert_allclose(found, one + other, rtol=1e-4, atol=1e-6)


def test_a_batch_without_a_label_of_a_task_moves_nothing_of_it():
    data, first = two()
    model = two_tasks()
    kt.compile(model, data=data)
    rows = np.flatnonzero(first)[:6]
    targets, weights = (
        {name: column[rows] for name, column in part["train"].items()}
        for part in (data.targets, data.weights)
    )
    loss, gradients = step(model, PIXELS[rows].astype("float32"), targets, weights)
    kind = model.loss["kind"](
        targets["kind"], model(PIXELS[rows].astype("float32"), training=False)["kind"]
    )
    np.testing.assert_allclose(loss, float(kind), rtol=1e-6)
    own = {
        variable.path: gradient
        for variable, gradient in zip(model.trainable_variables, gradients, strict=True)
    }
    for path, gradient in own.items():
        assert np.isfinite(gradient).all()
        assert (np.abs(gradient).max() == 0) == path.startswith("age_"), path
    nothing = step(
        model, PIXELS[rows].astype("float32"), targets, {name: np.zeros(6) for name in targets}
    )
    assert nothing[0] == 0
    assert all(np.abs(gradient).max() == 0 for gradient in nothing[1])
    logs = model.evaluate(PIXELS[rows], targets, sample_weight=weights, return_dict=True, verbose=0)
    assert logs["age_mae"] == logs["age_loss"] == 0
    assert logs["loss"] == logs["kind_loss"]


def test_metrics_count_labels_only():
    data = arrays(blank(KINDS), batch_size=7)
    model = model_of()
    logs = model.evaluate(data.ordered("train"), return_dict=True, verbose=0)
    answers = model.predict(PIXELS[HAS], verbose=0).argmax(axis=1)
    np.testing.assert_allclose(logs["accuracy"], (answers == KINDS[HAS]).mean(), rtol=1e-6)
    history = model.fit(
        data.train, validation_data=data.train, epochs=1, shuffle=False, verbose=0
    ).history
    assert set(history) == {"accuracy", "loss", "val_accuracy", "val_loss"}


def test_evaluation_counts_labels_only():
    result = kt.data.from_arrays(
        PIXELS[:4], KINDS[:4], validation=None, test=(PIXELS[4:], blank(KINDS[4:], HAS[4:]))
    )
    complete = kt.data.from_arrays(
        PIXELS[:4], KINDS[:4], validation=None, test=(PIXELS[4:][HAS[4:]], KINDS[4:][HAS[4:]])
    )
    model = model_of()
    mine, other = (
        kt.evaluate(model, data, verbose=0, max_mistakes=0) for data in (result, complete)
    )
    assert mine["accuracy"] == other["accuracy"]
    assert mine["f1"] == other["f1"]


def sets():
    """Two sets, one of which lacks labels of its own."""
    pets = kt.data.from_arrays(
        PIXELS[:16], blank(KINDS[:16], HAS[:16]), batch_size=6, validation=0.25
    )
    faces = kt.data.from_arrays(PIXELS[16:], AGES[16:], batch_size=6, validation=0.25)
    return {"pets": pets, "faces": faces}


def pets_and_faces():
    return model_of(
        {"pets": kt.tasks.Classification(3, dropout=0.3), "faces": kt.tasks.Regression()}
    )


@pytest.mark.parametrize(
    ("sampling", "smoothing"), [("proportional", 0.1), ("equal", 0.0), ("round_robin", 0.1)]
)
def test_kept_rows_change_nothing_on_mixed_data(sampling, smoothing):
    found = []
    for cache in ("off", "memory"):
        model = pets_and_faces()
        data = kt.data.mix(sets(), sampling=sampling, seed=2)
        options = {
            "augment": kt.data.Augment(label_smoothing=smoothing),
            "cache": cache,
            "seed": 0,
            "verbose": 0,
        }
        stage = kt.Stage(epochs=2, train="head", learning_rate=1e-2)
        history = kt.fine_tune(model, data, stages=[stage], **options)
        assert bool(history.record.get("cache")) == (cache == "memory")
        found.append((values(model), history.history))
    for name, curve in found[0][1].items():
        assert np.isfinite(curve).all(), name
        assert curve == found[1][1][name], name
    for path, value in found[0][0].items():
        np.testing.assert_array_equal(value, found[1][0][path], err_msg=path)


def test_kept_views_of_mixed_data_have_their_weights():
    model = pets_and_faces()
    data = kt.data.mix(sets(), sampling="equal")
    changes = kt.data.Augment(flip=True, label_smoothing=0.1)
    stage = kt.Stage(epochs=3, train="head", learning_rate=1e-2)
    history = kt.fine_tune(
        model, data, stages=[stage], augment=changes, views=2, cache="memory", seed=0, verbose=0
    )
    assert history.record["cache"][0]["of"] == "views"
    assert all(np.isfinite(curve).all() for curve in history.history.values())


@pytest.mark.parametrize("sampling", ["equal", "round_robin"])
def test_a_broken_run_on_mixed_data_goes_on_bit_equal(sampling, tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    def run(folder, callbacks=(), **options):
        model = pets_and_faces()
        data = kt.data.mix(sets(), sampling=sampling, seed=2)
        stage = kt.Stage(epochs=3, train="head", learning_rate=1e-2)
        kt.fine_tune(
            model,
            data,
            stages=[stage],
            seed=1,
            run_dir=folder,
            callbacks=callbacks,
            verbose=0,
            **options,
        )
        return values(model)

    expected = run(tmp_path / "one")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "two", [Stop()])
    found = run(tmp_path / "two", resume=True)
    for path, value in expected.items():
        np.testing.assert_array_equal(found[path], value, err_msg=path)


def test_another_mixture_is_another_run():
    model = pets_and_faces()
    data = [
        kt.data.mix(sets(), **options)
        for options in ({}, {"sampling": "equal"}, {"sampling": "round_robin"}, {"seed": 1})
    ]
    identities = [str(inputs.check(model, inputs.inputs(found)).identity) for found in data]
    assert len(set(identities)) == 4


def test_targets_of_no_task_and_their_weights_are_left_out():
    data = kt.data.mix(sets())
    model = model_of({"pets": kt.tasks.Classification(3)})
    given = inputs.check(model, inputs.inputs(data))
    for dataset in (given.train, given.validation, given.sample):
        assert [set(part) for part in dataset.element_spec[1:]] == [{"pets"}, {"pets"}]
    assert set(given.targets) == set(given.weights) == {"pets"}
    assert given.is_masked
    for cache in ("off", "memory"):
        other = model_of({"pets": kt.tasks.Classification(3)})
        kt.fine_tune(
            other, data, epochs=(2, 1), cache=cache, seed=0, verbose=0, watch=("gradient",)
        )


def test_the_whole_recipe_runs_on_mixed_data():
    """Solved heads, augmentation with smoothed labels, all layers, then again on all images."""
    data = kt.data.mix(sets(), sampling="equal")
    changes = kt.data.Augment(flip=True, mixup=0.2)
    model = pets_and_faces()
    options = {"augment": changes, "refit": True, "seed": 0, "verbose": 0}
    history = kt.fine_tune(model, data, plan="lp_ft", epochs=2, **options)
    assert all(np.isfinite(curve).all() for curve in history.history.values())
    assert history.record["refit"]["examples"] == 24
    assert set(history.record["stages"][0]["solved"]) == {"pets", "faces"}


@pytest.mark.parametrize("changes", [{"mixup": 1.0}, {"cutmix": 1.0}])
def test_mixing_images_leaks_no_missing_label(changes):
    """Class 0 stands where a label is missing; here no image is labelled 0, so nothing may want it."""
    has = np.arange(24) % 2 == 0
    dataset = tf.data.Dataset.from_tensor_slices(
        (PIXELS, np.where(has, 1, 0), has.astype("float32"))
    ).batch(24)
    for _, targets, weights in kt.data.Augment(**changes).apply(dataset, seed=0, classes=3):
        found, amounts = targets.numpy(), weights.numpy()
        assert not found[:, 0].any()
        np.testing.assert_allclose(found[:, 1], amounts > 0)
        assert ((amounts > 0) & (amounts < 1)).any()
        assert (amounts == 0).any()
        model = model_of()
        loss, gradients = step(model, PIXELS.astype("float32"), targets, weights)
        assert np.isfinite(loss)
        assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_the_rate_is_sought_on_batches_with_labels():
    data = arrays(blank(KINDS, np.arange(24) < 6), batch_size=3)
    found = []
    model = model_of()
    original = model.train_on_batch
    model.train_on_batch = lambda x, y, sample_weight=None, **rest: (
        found.append(np.asarray(sample_weight).sum()),
        original(x, y, sample_weight=sample_weight, **rest),
    )[1]
    kt.find_learning_rate(model, data, steps=20, highest=0.1, verbose=0)
    assert len(found) == 20
    assert min(found) > 0


def test_statistics_are_estimated_from_all_images():
    mine, other = model_of(), model_of()
    kt.training.recalibrate(mine, arrays(blank(KINDS)).ordered("train"))
    kt.training.recalibrate(other, arrays(KINDS).ordered("train"))
    close(mine, other)


def test_losses_and_metrics_of_the_user_that_count_missing_labels_are_named():
    model = model_of()
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(), metrics=["accuracy"])
    history = kt.fine_tune(model, arrays(blank(KINDS)), stages=[HEAD], verbose=0)
    (note,) = [
        note
        for note in history.record["notes"]
        if note.startswith("Missing labels count as examples")
    ]
    assert "the loss sparse_categorical_crossentropy" in note
    assert "the metric accuracy" in note
    plain = kt.fine_tune(model_of(), arrays(blank(KINDS)), stages=[HEAD], verbose=0)
    assert not [note for note in plain.record["notes"] if note.startswith("Missing labels count")]


def test_a_task_without_any_label_is_refused():
    dataset = tf.data.Dataset.from_tensor_slices((PIXELS, KINDS * 0, np.zeros(24))).batch(8)
    with pytest.raises(
        checks.InputError, match="a label of some training image for 'classification'. Given: none"
    ):
        kt.fine_tune(model_of(), dataset, epochs=(1, 1), verbose=0)
