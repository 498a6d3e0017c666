import keras
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

import keras_transfer as kt
from keras_transfer.core import checks
from keras_transfer.training.methods import head_fitting

RNG = np.random.default_rng(0)
CLASSES = 4
LABELS = np.arange(80) % CLASSES
IMAGES = (
    (RNG.normal(110, 30, (80, 8, 8, 3)) + 12 * LABELS[:, None, None, None])
    .clip(0, 255)
    .astype("float32")
)
SIZES = IMAGES.mean(axis=(1, 2, 3)) * 3 + RNG.normal(0, 5, 80)
TRAIN, VALIDATION = slice(0, 56), slice(56, 80)


def model_of(task=None, **options):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Rescaling(1 / 128, offset=-1, name="rescaling")(inputs)
    x = keras.layers.Conv2D(12, 3, strides=2, activation="relu", name="block1_conv")(x)
    return kt.build_model(
        keras.Model(inputs, x, name="network"), task or kt.tasks.Classification(CLASSES), **options
    )


def trunk(model, images=IMAGES):
    return keras.Model(model.input, kt.models.representation(model).output).predict(
        images, verbose=0
    )


def scaled(features):
    """What the head is solved on, written out."""
    pooled = features.mean(axis=(1, 2)).astype("float64")
    mean = pooled[TRAIN].mean(axis=0)
    return (pooled - mean) / np.sqrt(pooled[TRAIN].var(axis=0).mean())


def probabilities(outputs):
    exponentials = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def solved(model, **options):
    maps = trunk(model)
    return head_fitting.solve_head(
        model, maps[TRAIN], LABELS[TRAIN], maps[VALIDATION], LABELS[VALIDATION], **options
    )


@pytest.mark.parametrize("strength", [30.0, 1.0, 0.03])
def test_predictions_are_those_of_scikit_learn(strength):
    model = model_of()
    facts = solved(model, strengths=[strength])
    x = scaled(trunk(model))
    theirs = LogisticRegression(C=1 / strength, tol=1e-9, max_iter=5000).fit(
        x[TRAIN], LABELS[TRAIN]
    )
    np.testing.assert_allclose(model.predict(IMAGES, verbose=0), theirs.predict_proba(x), atol=1e-5)
    assert facts["converged"]
    assert facts["accuracy"] == pytest.approx(theirs.score(x[TRAIN], LABELS[TRAIN]))
    assert facts["val_accuracy"] == pytest.approx(theirs.score(x[VALIDATION], LABELS[VALIDATION]))


def test_a_penalty_that_is_given_for_a_task_is_not_chosen():
    facts, found = [], []
    for strengths in ([3.0], {"classification": 3.0}):
        model = model_of()
        facts.append(solved(model, strengths=strengths))
        found.append(model.get_weights()[-2:])
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
    assert facts[1]["chosen_by"] == "user"
    assert "val_accuracy" not in facts[1]
    line = kt.training.SolvedHead({}).describe(facts[1])
    assert line.endswith("logistic regression on what the frozen layers give, with penalty 3.")
    with pytest.raises(checks.InputError, match="`strengths` must have a number for each task"):
        solved(model_of(), strengths={"kind": 3.0})


def test_the_strength_has_the_lowest_validation_loss():
    model = model_of()
    facts = solved(model)
    x, losses = scaled(trunk(model)), {}
    for strength in head_fitting.STRENGTHS:
        theirs = LogisticRegression(C=1 / strength, tol=1e-9, max_iter=5000).fit(
            x[TRAIN], LABELS[TRAIN]
        )
        right = theirs.predict_proba(x[VALIDATION])[np.arange(24), LABELS[VALIDATION]]
        losses[strength] = -np.mean(np.log(right))
    assert facts["strength"] == min(losses, key=losses.get)
    assert facts["chosen_by"] == "validation"
    for strength, loss in losses.items():
        np.testing.assert_allclose(facts["losses"][strength], loss, rtol=0.02)
    evaluated = model.evaluate(IMAGES[VALIDATION], LABELS[VALIDATION], verbose=0, return_dict=True)
    np.testing.assert_allclose(evaluated["loss"], min(losses.values()), rtol=0.01)
    np.testing.assert_allclose(evaluated["accuracy"], facts["val_accuracy"], rtol=1e-5)


def test_without_validation_folds_choose():
    model = model_of()
    facts = head_fitting.solve_head(model, trunk(model), LABELS, folds=4)
    again = head_fitting.solve_head(model, trunk(model), LABELS, folds=4)
    assert facts["chosen_by"] == "4 folds"
    assert {**facts, "seconds": 0} == {**again, "seconds": 0}
    measured = facts["losses"]
    assert measured[facts["strength"]] == min(measured.values())
    assert min(measured.values()) < 0.95 * np.log(CLASSES)


def test_folds_count_besides_the_validation_data():
    """Each row counts once: the losses are the mean of those of both ways, weighted by their rows."""
    model = model_of()
    maps = trunk(model)
    both = solved(model, folds=4)
    validation = solved(model)
    folds = head_fitting.solve_head(model, maps[TRAIN], LABELS[TRAIN], folds=4)

    assert both["chosen_by"] == "validation and 4 folds"
    for strength, loss in both["losses"].items():
        expected = (24 * validation["losses"][strength] + 56 * folds["losses"][strength]) / 80
        assert loss == pytest.approx(expected, abs=2e-6)
    assert both["strength"] == min(both["losses"], key=both["losses"].get)
    with pytest.raises(checks.InputError, match="there must be 58 rows for 29 folds. Given: 56"):
        solved(model, folds=29)


def test_examples_of_one_group_are_in_one_fold():
    """Features name the group and nothing else: with its examples in other folds, the weakest penalty is the best."""
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(16), 5)
    features = rng.normal(size=(16, 12))[groups] + 0.01 * rng.normal(size=(80, 12))
    labels = rng.integers(0, CLASSES, 16)[groups]
    model, seen = model_of(), np.arange(80) != 7
    alone = head_fitting.solve_head(model, features, labels)
    together = head_fitting.solve_head(model, features, labels, groups=groups)
    assert alone["val_accuracy"] > 0.8
    assert together["val_accuracy"] < 0.5
    assert together["strength"] > alone["strength"]
    unique = head_fitting.solve_head(model, features, labels, groups=np.arange(80) + 5)
    assert unique["losses"] == alone["losses"]

    halves = head_fitting.solve_head(model, features, labels, groups=groups % 2, weights=seen)
    assert halves["chosen_by"] == "2 folds"
    pair = (seen & (groups % 2 == 0), seen & (groups % 2 == 1))
    both = []
    for one, other in (pair, pair[::-1]):
        held_out = head_fitting.solve_head(
            model, features[one], labels[one], features[other], labels[other]
        )
        both.append((other.sum(), held_out["losses"]))
    for strength, loss in halves["losses"].items():
        expected = sum(count * losses[strength] for count, losses in both) / seen.sum()
        assert loss == pytest.approx(expected, abs=2e-6)


def test_data_tell_the_groups_of_their_examples():
    def choose(**options):
        data = kt.data.from_arrays(IMAGES, LABELS, validation=None, **options)
        return head_fitting.solve_head(model, data)

    model, groups = model_of(), np.arange(80) // 40
    features = trunk(model)
    assert choose(group=groups)["losses"] == pytest.approx(
        head_fitting.solve_head(model, features, LABELS, groups=groups)["losses"], abs=1e-5
    )
    assert choose(group=groups)["chosen_by"] == "2 folds"
    assert choose()["chosen_by"] == "5 folds"


def test_it_beats_the_head_that_the_model_had():
    model = model_of()
    before = model.evaluate(IMAGES[VALIDATION], LABELS[VALIDATION], verbose=0, return_dict=True)
    solved(model)
    after = model.evaluate(IMAGES[VALIDATION], LABELS[VALIDATION], verbose=0, return_dict=True)
    assert after["loss"] < before["loss"]
    assert after["accuracy"] > before["accuracy"]


def test_only_the_head_moves():
    model = model_of()
    before = model.get_weights()
    solved(model)
    moved = [not np.array_equal(*pair) for pair in zip(model.get_weights(), before, strict=True)]
    assert moved == [False, False, True, True]


@pytest.mark.parametrize("weights", ["balanced", [1.0, 2.0, 0.5, 1.0]])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_class_weights_and_smoothing_are_those_of_the_task(weights, smoothing):
    rows = np.concatenate([np.flatnonzero(LABELS == 0)[:5], np.flatnonzero(LABELS != 0)])
    model = model_of(
        kt.tasks.Classification(CLASSES, class_weights=weights, label_smoothing=smoothing)
    )
    head_fitting.solve_head(model, trunk(model)[rows], LABELS[rows], strengths=[1.0])
    pooled = trunk(model).mean(axis=(1, 2)).astype("float64")
    mean, deviation = pooled[rows].mean(axis=0), np.sqrt(pooled[rows].var(axis=0).mean())
    x = (pooled - mean) / deviation
    own = (
        np.array([65 / (4 * 5), *[65 / (4 * 20)] * 3])
        if weights == "balanced"
        else np.array(weights)
    )
    wanted = (np.eye(CLASSES)[LABELS[rows]] * (1 - smoothing) + smoothing / CLASSES) * own[
        LABELS[rows]
    ][:, None]
    theirs = LogisticRegression(C=1.0, tol=1e-9, max_iter=5000)
    copies = np.repeat(x[rows], CLASSES, axis=0)
    theirs.fit(copies, np.tile(np.arange(CLASSES), 65), sample_weight=wanted.ravel())
    np.testing.assert_allclose(model.predict(IMAGES, verbose=0), theirs.predict_proba(x), atol=1e-5)


def test_the_solution_is_where_training_ends():
    """Plain gradient descent on the task's own loss plus the penalty does not move it."""
    model = model_of(kt.tasks.Classification(CLASSES, label_smoothing=0.1))
    maps = trunk(model)
    head_fitting.solve_head(model, maps, LABELS, strengths=[2.0])
    scale = np.sqrt(maps.mean(axis=(1, 2)).var(axis=0).mean())
    dense = model.get_layer("classification_logits")
    before = dense.get_weights()
    dense.kernel.regularizer = keras.regularizers.L2(float(0.5 * 2.0 * scale**2 / len(LABELS)))
    for layer in model.layers:
        layer.trainable = layer is dense
    kt.compile(model, optimizer=keras.optimizers.SGD(1.0))
    model.fit(IMAGES, LABELS, batch_size=len(LABELS), epochs=3, verbose=0)
    for found, value in zip(dense.get_weights(), before, strict=True):
        np.testing.assert_allclose(found, value, atol=2e-5)


def test_adjusted_logits_are_taken_off_the_bias():
    """The logits of training are the answer's plus tau log(prior): they are what is solved."""
    rows = np.concatenate([np.flatnonzero(LABELS == 0)[:5], np.flatnonzero(LABELS != 0)])
    plain, adjusted = (
        model_of(),
        model_of(kt.tasks.Classification(CLASSES, loss=kt.losses.LogitAdjusted(tau=0.7))),
    )
    facts = [
        head_fitting.solve_head(each, trunk(each)[rows], LABELS[rows], strengths=[1.0])
        for each in (plain, adjusted)
    ]
    priors = np.bincount(LABELS[rows]) / len(rows)
    expected = plain.predict(IMAGES, verbose=0) / priors**0.7
    expected /= expected.sum(axis=1, keepdims=True)
    found = adjusted.predict(IMAGES, verbose=0)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert facts[1]["accuracy"] == pytest.approx(
        np.mean(found[rows].argmax(axis=1) == LABELS[rows])
    )
    assert facts[1]["losses"] == facts[0]["losses"]


def test_a_regression_is_ridge_in_its_own_unit():
    model = model_of(kt.tasks.Regression())
    maps = trunk(model)
    facts = head_fitting.solve_head(
        model, maps[TRAIN], SIZES[TRAIN], maps[VALIDATION], SIZES[VALIDATION], strengths=[3.0]
    )
    x = scaled(maps)
    theirs = Ridge(alpha=3.0).fit(x[TRAIN], SIZES[TRAIN])
    predicted = model.predict(IMAGES, verbose=0)[:, 0]
    np.testing.assert_allclose(predicted, theirs.predict(x), rtol=1e-5)
    assert model.get_layer("regression").unit_is_known()
    np.testing.assert_allclose(facts["mae"], np.mean(np.abs(predicted - SIZES)[TRAIN]), rtol=1e-4)
    np.testing.assert_allclose(
        facts["val_mae"], np.mean(np.abs(predicted - SIZES)[VALIDATION]), rtol=1e-4
    )


def test_the_strength_of_a_regression_has_the_lowest_error():
    model = model_of(kt.tasks.Regression(2))
    maps, targets = trunk(model), np.stack([SIZES, -2 * SIZES + 5], axis=1)
    facts = head_fitting.solve_head(
        model, maps[TRAIN], targets[TRAIN], maps[VALIDATION], targets[VALIDATION]
    )
    x, losses = scaled(maps), {}
    for strength in head_fitting.STRENGTHS:
        theirs = Ridge(alpha=strength).fit(x[TRAIN], targets[TRAIN])
        error = (theirs.predict(x[VALIDATION]) - targets[VALIDATION]) / targets[TRAIN].std(axis=0)
        losses[strength] = np.mean(error**2)
    assert facts["strength"] == min(losses, key=losses.get)
    np.testing.assert_allclose(list(facts["losses"].values()), list(losses.values()), rtol=1e-4)


def test_several_tasks_and_one_that_cannot_be_solved(capsys):
    tasks = {
        "kind": kt.tasks.Classification(CLASSES, pooling="max"),
        "size": kt.tasks.Regression(dropout=0.2),
        "deep": kt.tasks.Classification(CLASSES, hidden=[5]),
    }
    model = model_of(tasks)
    before = model.get_layer("deep_logits").get_weights()
    facts = head_fitting.solve_head(
        model, trunk(model), {"kind": LABELS, "size": SIZES, "deep": LABELS}
    )
    assert list(facts) == ["kind", "size", "deep"]
    assert facts["deep"] == {"skipped": "the head of 'deep' is not fitted: it has hidden layers"}
    assert "it has hidden layers" in capsys.readouterr().out
    np.testing.assert_array_equal(model.get_layer("deep_logits").get_weights()[0], before[0])
    answers = model.predict(IMAGES, verbose=0)
    assert np.mean(answers["kind"].argmax(axis=1) == LABELS) == pytest.approx(
        facts["kind"]["accuracy"]
    )
    np.testing.assert_allclose(
        np.mean(np.abs(answers["size"][:, 0] - SIZES)), facts["size"]["mae"], rtol=1e-4
    )
    alone = model_of(kt.tasks.Classification(CLASSES, pooling="max"))
    only = head_fitting.solve_head(alone, trunk(alone), LABELS)
    assert {**only, "seconds": 0} == {**facts["kind"], "seconds": 0}


def test_pooled_features_are_taken_as_well():
    maps, pooled, named = (model_of() for _ in range(3))
    head_fitting.solve_head(maps, trunk(maps), LABELS, strengths=[1.0])
    features = trunk(pooled).mean(axis=(1, 2))
    head_fitting.solve_head(pooled, features, LABELS, strengths=[1.0])
    head_fitting.solve_head(named, {"classification": features}, LABELS, strengths=[1.0])
    np.testing.assert_allclose(
        pooled.predict(IMAGES, verbose=0), maps.predict(IMAGES, verbose=0), atol=1e-5
    )
    np.testing.assert_array_equal(named.get_weights()[-1], pooled.get_weights()[-1])


def test_a_class_without_examples_is_hardly_ever_answered():
    model = model_of(kt.tasks.Classification(CLASSES + 1))
    head_fitting.solve_head(model, trunk(model), LABELS)
    assert model.predict(IMAGES, verbose=0)[:, CLASSES].max() < 1e-3


@pytest.mark.compiled
def test_mixed_precision_keeps_the_head_in_float32():
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    model = model_of()
    facts = head_fitting.solve_head(model, trunk(model), LABELS)
    assert model.get_layer("classification_logits").kernel.dtype == "float32"
    accuracy = np.mean(model.predict(IMAGES, verbose=0).argmax(axis=1) == LABELS)
    np.testing.assert_allclose(accuracy, facts["accuracy"], atol=0.03)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"train_features": np.zeros((80, 11))},
            r"must have shape \(None, 3, 3, 12\), or be pooled to 12",
        ),
        ({"train_features": np.zeros((79, 12))}, "a row for each target. Given: 79, 80"),
        (
            {"train_features": np.full((80, 12), np.nan)},
            "`train_features` must be finite. Given: row 0",
        ),
        (
            {"train_features": {"kind": np.zeros((80, 12))}},
            "must have features for 'classification'. Given: kind",
        ),
        (
            {"train_features": np.zeros((6, 12)), "train_targets": LABELS[:6], "folds": 5},
            "10 rows for 5 folds. Given: 6",
        ),
        ({"train_targets": LABELS + 1}, r"`labels` must lie in \[0, 4\)"),
        ({"val_features": np.zeros((80, 12))}, "must be given together"),
        ({"strengths": []}, "`strengths` must hold"),
        ({"strengths": [0]}, "`strengths` must be a number above 0"),
        ({"folds": 1}, "`folds` must be"),
    ],
)
def test_bad_arguments(arguments, message):
    given = {"train_features": np.ones((80, 12)), "train_targets": LABELS, **arguments}
    with pytest.raises(checks.InputError, match=message):
        head_fitting.solve_head(
            model_of(), given.pop("train_features"), given.pop("train_targets"), **given
        )


@pytest.mark.parametrize("balancing", [None, "sum", "uncertainty", "pcgrad"])
def test_what_balances_tasks_is_no_hidden_layer(balancing):
    tasks = {"kind": kt.tasks.Classification(3), "age": kt.tasks.Regression()}
    model = model_of(tasks, balancing=balancing)
    found, skipped = head_fitting.heads(model)
    assert (list(found), skipped) == (["kind", "age"], {})
    outputs = model.predict(IMAGES, verbose=0)
    for name, head in found.items():
        features = head.pool.predict(trunk(model), verbose=0)
        assert features.shape == (len(IMAGES), 12)
        raw = keras.ops.convert_to_numpy(head.dense(features))
        np.testing.assert_allclose(model.get_layer(name)(raw), outputs[name], rtol=1e-4, atol=1e-5)


def test_heads_that_have_no_solution():
    with pytest.raises(checks.InputError, match="'classification': it has hidden layers"):
        head_fitting.solve_head(
            model_of(kt.tasks.Classification(4, hidden=[3])), np.ones((80, 12)), LABELS
        )
    with pytest.raises(checks.InputError, match="must have tasks on a trunk"):
        head_fitting.solve_head(
            keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)]), np.ones((80, 2)), LABELS
        )


@pytest.mark.compiled
@pytest.mark.slow
@pytest.mark.realdata
def test_caltech_through_tiny(real_data):
    """A solved head is as good as one that was trained: accuracy on the test set within two points."""
    data = kt.data.from_folder(
        real_data / "caltech24" / "train", test=real_data / "caltech24" / "test", image_size=32
    )
    model = kt.build_model(kt.backbone("tiny"), kt.tasks.Classification(data.class_names))
    lower = keras.Model(model.input, kt.models.representation(model).output)
    parts = [lower.predict(data.ordered(split), verbose=0) for split in ("train", "validation")]
    facts = head_fitting.solve_head(
        model, parts[0], data.targets["train"], parts[1], data.targets["validation"]
    )
    assert facts["converged"]
    solved = model.evaluate(data.test, verbose=0, return_dict=True)["accuracy"]
    trained = kt.build_model(kt.backbone("tiny"), kt.tasks.Classification(data.class_names))
    kt.fine_tune(
        trained, data, stages=[kt.Stage(epochs=40, train="head", learning_rate=3e-3)], verbose=0
    )
    assert solved > trained.evaluate(data.test, verbose=0, return_dict=True)["accuracy"] - 0.02
