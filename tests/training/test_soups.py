import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_transfer as kt
from keras_transfer.core import checks
from keras_transfer.graphs import paths
from keras_transfer.training import soups

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (40, 8, 8, 3)).astype("float32")
LABELS = np.array([0, 1, 2, 1] * 10)


def network(batch_norm=True, twice=False, dropout=0.0):
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Rescaling(1 / 128, offset=-1, name="rescaling")(inputs)
    x = keras.layers.Conv2D(6, 3, strides=2, name="block1_conv")(x)
    if batch_norm:
        x = keras.layers.BatchNormalization(name="block1_bn")(x)
    if twice:
        x = keras.layers.BatchNormalization(name="block1_again")(x)
    return keras.Model(inputs, keras.layers.ReLU(name="block1_relu")(x), name="network")


def model_of(seed=0, **options):
    keras.utils.set_random_seed(0)
    model = kt.build_model(
        network(**options), kt.tasks.Classification(3, dropout=options.get("dropout", 0.0))
    )
    rng = np.random.default_rng(seed)
    model.set_weights(
        [
            value + rng.normal(0, 0.05, value.shape) ** (2 if value.ndim == 1 else 1)
            for value in weights(model)
        ]
    )
    return model


def weights(model):
    return model.get_weights()


def by_path(model):
    return {
        path: keras.ops.convert_to_numpy(variable)
        for path, variable in paths.variables(model).items()
    }


def accuracy(model):
    return float(np.mean(model.predict(IMAGES, verbose=0).argmax(axis=1) == LABELS))


def test_a_uniform_soup_is_the_mean():
    models = [model_of(seed) for seed in range(3)]
    expected = [
        np.mean(parts, axis=0, dtype="float64") for parts in zip(*map(weights, models), strict=True)
    ]
    others = [weights(model) for model in models[1:]]
    result = soups.soup(models)
    assert result.model is models[0]
    for found, value in zip(weights(models[0]), expected, strict=True):
        np.testing.assert_allclose(found, value, rtol=1e-6, atol=1e-7)
    for path, value in by_path(models[0]).items():
        np.testing.assert_array_equal(result.weights[path], value)
    for model, before in zip(models[1:], others, strict=True):
        for found, value in zip(weights(model), before, strict=True):
            np.testing.assert_array_equal(found, value)
    assert (result.used, result.scores, result.score) == ([0, 1, 2], None, None)


def test_one_ingredient_is_itself():
    model = model_of(1)
    before = weights(model)
    soups.soup([model])
    for found, value in zip(weights(model), before, strict=True):
        np.testing.assert_array_equal(found, value)


def test_models_files_folders_and_arrays_are_the_same(tmp_path):
    models = [model_of(seed) for seed in range(4)]
    expected = soups.soup([by_path(model) for model in models], model=model_of()).weights
    np.savez(tmp_path / "one.npz", **by_path(models[1]))
    (tmp_path / "run").mkdir()
    np.savez(tmp_path / "run" / "best.npz", **by_path(models[2]))
    models[3].save_weights(tmp_path / "three.weights.h5")
    files = [tmp_path / "one.npz", str(tmp_path / "run"), tmp_path / "three.weights.h5"]
    found = soups.soup([models[0], *files]).weights
    for path, value in expected.items():
        np.testing.assert_allclose(found[path], value, rtol=1e-6, err_msg=path)


def test_a_soup_of_runs(tmp_path):
    data = kt.data.from_arrays(IMAGES.astype("uint8"), LABELS, validation=0.25, batch_size=10)
    folders = []
    for seed in range(2):
        folders.append(tmp_path / str(seed))
        keras.utils.set_random_seed(0)
        model = kt.build_model(network(), kt.tasks.Classification(3))
        kt.fine_tune(model, data, epochs=(1, 1), seed=seed, run_dir=folders[-1], verbose=0)
    result = soups.soup(folders, model=model, kind="greedy", score=data)
    assert result.score >= max(result.scores)
    evaluated = model.evaluate(data.validation, verbose=0, return_dict=True)
    np.testing.assert_allclose(evaluated["accuracy"], result.score, rtol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_a_greedy_soup_is_never_worse_than_the_best_ingredient(seed):
    models = [model_of(10 * seed + number) for number in range(4)]
    scores = [accuracy(model) for model in models]
    result = soups.soup(models, kind="greedy", score=accuracy)
    assert result.scores == scores
    assert result.score == accuracy(models[0]) >= max(scores)
    assert scores[result.used[0]] == max(scores)


def test_a_greedy_soup_by_hand():
    """Scores are how near the bias is to 1: of 0.8, 3, 0.4 and 1.3 it takes 0.8, and 1.3 (1.05), not 0.4 or 3."""

    def of(bias):
        return {"dense/kernel": np.ones((1, 1)), "dense/bias": np.array([bias])}

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, name="dense")])
    pots = [of(bias) for bias in (0.8, 3.0, 0.4, 1.3)]
    result = soups.soup(
        pots, model=model, kind="greedy", score=lambda model: -abs(float(model.weights[1][0]) - 1)
    )
    assert result.used == [0, 3]
    np.testing.assert_allclose(result.weights["dense/bias"], [1.05])
    np.testing.assert_allclose(result.scores, [-0.2, -2, -0.6, -0.3], rtol=1e-6)
    np.testing.assert_allclose(result.score, -0.05, rtol=1e-5)
    np.testing.assert_array_equal(model.weights[1], result.weights["dense/bias"])


def test_equal_scores_are_taken_in():
    models = [model_of(seed) for seed in range(3)]
    assert soups.soup(models, kind="greedy", score=lambda model: 0.5).used == [0, 1, 2]


def test_a_score_that_is_no_number_is_the_worst():
    scores = iter([np.nan, 0.5, 0.4, np.nan, 0.6])
    result = soups.soup(
        [model_of(seed) for seed in range(3)], kind="greedy", score=lambda model: next(scores)
    )
    assert result.used == [1, 0]
    assert result.score == 0.6
    with pytest.raises(checks.InputError, match="number for one ingredient"):
        soups.soup(
            [model_of(seed) for seed in range(2)], kind="greedy", score=lambda model: float("nan")
        )


@pytest.mark.parametrize("form", ["arrays", "dataset", "data"])
def test_scores_from_data_are_the_accuracy(form):
    model = model_of(1)
    dataset = tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(8)
    data = {
        "arrays": (IMAGES, LABELS),
        "dataset": dataset,
        "data": (dataset.take(1), dataset),  # of a pair (train, validation) the second
    }[form]
    expected = accuracy(model)
    assert soups.soup([model], score=data).score == pytest.approx(expected)


def test_several_tasks_are_scored_by_their_loss():
    tasks = {"kind": kt.tasks.Classification(3), "size": kt.tasks.Regression()}
    model = kt.build_model(network(), tasks)
    targets = {"kind": LABELS, "size": LABELS.astype("float32")}
    expected = -model.evaluate(IMAGES, targets, verbose=0, return_dict=True)["loss"]
    assert soups.soup([model], score=(IMAGES, targets)).score == pytest.approx(expected)


def test_statistics_are_recalibrated_where_they_moved():
    """Mean and variance, over all images, of what enters the normalisation."""
    models = [model_of(seed) for seed in range(2)]
    result = soups.soup(models, batch_norm="recalibrate", recalibrate=IMAGES)
    conv = keras.Model(models[0].input, models[0].get_layer("block1_conv").output)
    entering = conv.predict(IMAGES, verbose=0).astype("float64")
    mean, variance = entering.mean(axis=(0, 1, 2)), entering.var(axis=(0, 1, 2))
    np.testing.assert_allclose(result.weights["block1_bn/moving_mean"], mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(result.weights["block1_bn/moving_variance"], variance, rtol=1e-4)


def frozen_statistics(seed, **options):
    model, first = model_of(seed, **options), model_of(0, **options)
    model.get_layer("block1_bn").set_weights(first.get_layer("block1_bn").get_weights())
    return model


@pytest.mark.parametrize("twice", [False, True])
def test_statistics_that_did_not_move_stay(twice):
    """Whether nothing moved, or the statistics of another normalisation."""
    models = [frozen_statistics(seed, twice=twice) for seed in range(2)]
    averaged = {
        name: by_path(models[0])[name] for name in by_path(models[0]) if "again/moving" in name
    }
    expected = models[0].get_layer("block1_bn").get_weights()
    result = soups.soup(models, batch_norm="recalibrate", recalibrate=IMAGES)
    for found, value in zip(models[0].get_layer("block1_bn").get_weights(), expected, strict=True):
        np.testing.assert_array_equal(found, value)
    for name, value in averaged.items():
        assert not np.allclose(result.weights[name], value)


def test_recalibration_leaves_flags_and_rates_alone():
    models = [model_of(seed, dropout=0.5) for seed in range(2)]
    norm, dropout = models[0].get_layer("block1_bn"), models[0].get_layer("classification_dropout")
    norm.trainable = False
    before = norm.momentum
    dataset = tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(10)
    soups.soup(models, batch_norm="recalibrate", recalibrate=dataset)
    assert (norm.trainable, norm.momentum, dropout.rate) == (False, before, 0.5)


def test_a_function_may_recalibrate():
    def zero(model):
        model.get_layer("block1_bn").moving_mean.assign(np.zeros(6))

    seen = []
    result = soups.soup(
        [model_of(seed) for seed in range(2)],
        batch_norm="recalibrate",
        recalibrate=zero,
        score=lambda model: seen.append(model.get_layer("block1_bn").get_weights()[2]) or 0.0,
    )
    assert len(seen) == 3
    assert all((value == 0).all() for value in seen)
    assert (result.weights["block1_bn/moving_mean"] == 0).all()


def test_whole_numbers_are_not_averaged():
    first, second = (
        {"dense/kernel": np.full((1, 1), v), "dense/bias": np.array([v], "int64")} for v in (2, 5)
    )
    mean = soups._mean(lambda position: {0: first, 1: second}[position], [0, 1])
    assert mean["dense/bias"].tolist() == [2]
    assert first["dense/kernel"].tolist() == [[2]]


@pytest.mark.parametrize(
    "wrong", ["missing", "shape", "other", "text", "pickle", "absent", "keras"]
)
def test_what_does_not_fit_is_an_error_and_the_model_stays(wrong, tmp_path):
    model = model_of(0)
    before = weights(model)
    values = by_path(model_of(1))
    file = tmp_path / "file.npz"
    if wrong == "missing":
        values.pop("block1_conv/bias")
        np.savez(file, **values)
    elif wrong == "shape":
        np.savez(file, **{**values, "block1_conv/bias": np.zeros(5)})
    elif wrong == "other":
        np.savez(file, **by_path(model_of(0, batch_norm=False)))
    elif wrong == "text":
        file.write_text("no archive")
    elif wrong == "pickle":
        np.savez(file, **{**values, "block1_conv/bias": np.array([{}], dtype=object)})
    elif wrong == "keras":
        file = tmp_path / "file.keras"
        model.save(file)
    message = (
        "an ingredient must be a model"
        if wrong in ("absent", "keras")
        else "ingredient 1 must have the weights"
    )
    with pytest.raises(checks.InputError, match=message):
        soups.soup([model, file], kind="greedy", score=accuracy)
    for found, value in zip(weights(model), before, strict=True):
        np.testing.assert_array_equal(found, value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "thick"}, "`kind` must be one of"),
        ({"kind": "greedy"}, "`score` must be given"),
        ({"batch_norm": "recalibrate"}, "`recalibrate` must be given"),
        ({"recalibrate": IMAGES}, "`recalibrate` must be given"),
        ({"ingredients": []}, "must hold something"),
        ({"ingredients": [{}]}, "`model` must be given"),
        (
            {"ingredients": [keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]), 3]},
            "int at position 1",
        ),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(checks.InputError, match=message):
        soups.soup(arguments.pop("ingredients", [model_of(0)]), **arguments)


def test_a_model_that_is_not_compiled_cannot_be_evaluated():
    model = model_of(0)
    with pytest.raises(checks.InputError, match="must be compiled"):
        soups.soup([keras.Model(model.input, model.output)], score=(IMAGES, LABELS))


def test_an_interruption_leaves_the_model_as_it_was():
    model = model_of(0)
    before = weights(model)

    def interrupted(model):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        soups.soup([model_of(1), model_of(2)], model=model, score=interrupted)
    for found, value in zip(weights(model), before, strict=True):
        np.testing.assert_array_equal(found, value)
