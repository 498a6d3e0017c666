import base64
import re
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from networks import small

import keras_transfer as kt
from keras_transfer.core import checks
from keras_transfer.evaluation import examples
from keras_transfer.pages import overlays

NAMES = ["red", "green", "blue"]


def colours(examples, seed=0, size=8):
    """Images of which one channel is a little stronger, and mostly which one that is."""
    rng = np.random.default_rng(seed)
    channels = rng.integers(0, 3, examples)
    images = rng.integers(0, 200, (examples, size, size, 3))
    images[np.arange(examples), :, :, channels] += 20
    return images.astype("uint8"), np.where(
        rng.random(examples) < 0.8, channels, (channels + 1) % 3
    )


def plain_classifier():
    """Answers with the softmax of the mean colour: right for most of `colours`, and known in closed form."""
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Rescaling(0.1)(inputs)
    return keras.Model(inputs, keras.layers.Softmax()(keras.layers.GlobalAveragePooling2D()(x)))


def plain_regressor():
    inputs = keras.Input((8, 8, 3))
    mean = keras.layers.GlobalAveragePooling2D(name="mean")(inputs)
    return keras.Model(inputs, mean)


@pytest.fixture(scope="module")
def tiny():
    return kt.build_model(kt.backbone("tiny", weights=None), kt.tasks.Classification(NAMES))


@pytest.fixture(scope="module")
def several():
    tasks = {"colour": kt.tasks.Classification(NAMES), "age": kt.tasks.Regression(unit="years")}
    return kt.build_model(small(), tasks)


@pytest.mark.compiled
def test_scores_are_those_of_the_models_predictions(tiny):
    images, labels = colours(50, size=32)
    report = kt.evaluate(tiny, tf.data.Dataset.from_tensor_slices((images, labels)).batch(16))
    predicted = tiny.predict(images, verbose=0)
    assert report["accuracy"] == np.mean(predicted.argmax(1) == labels)
    assert report["accuracy"] == pytest.approx(tiny.evaluate(images, labels, verbose=0)[1])
    expected = kt.metrics.classification_scores(labels, predicted, NAMES)
    assert report["confusion"] == expected["confusion"]
    assert list(report["classes"]) == NAMES
    assert report["ece"] == pytest.approx(
        expected["ece"], abs=1e-5
    )  # batches of other sizes round differently


def test_report_says_where_the_most_frequent_class_does_as_well(several):
    images, _ = colours(40, size=32)
    labels = np.repeat([0, 1, 2], [20, 10, 10])
    report = kt.evaluate(several, (images, {"colour": labels, "age": labels + 30.0}))
    assert report["colour"]["baseline"]["scores"] == {"accuracy": 0.5}
    assert report["age"]["baseline"]["scores"]["mae"] == pytest.approx(0.75)
    assert not report["age"]["baseline"]["is_beaten"]
    text = str(report)
    assert "better than always answering 'red': accuracy" in text
    assert "Not better than always answering the mean: mean absolute error" in text
    page = report.to_html()
    assert page.count('class="warning"') == 2

    seen, labels = colours(200)
    good = kt.evaluate(plain_classifier(), (seen, labels))
    assert good["baseline"]["is_beaten"]
    assert "always answering" not in str(good)
    assert 'class="warning"' not in good.to_html()


def test_dataset_arrays_and_batch_sizes_agree():
    model, (images, labels) = plain_classifier(), colours(70)
    whole = kt.evaluate(model, (images, labels)).to_dict()
    batched = kt.evaluate(
        model, tf.data.Dataset.from_tensor_slices((images, labels)).batch(11)
    ).to_dict()
    for result in (whole, batched):
        del result["about"], result["ece"], result["reliability"], result["operating_points"]
        result["mistakes"] = [
            {**mistake, "score": round(mistake["score"], 5)} for mistake in result["mistakes"]
        ]
    assert 0 < whole["accuracy"] < 1
    assert batched == whole


@pytest.mark.compiled
def test_model_is_traced_once_although_the_last_batch_is_smaller():
    traces = []

    @keras.saving.register_keras_serializable("keras_transfer_tests")
    class Counting(keras.layers.Layer):
        def call(self, inputs):
            traces.append(inputs.shape)
            return inputs

    inputs = keras.Input((8, 8, 3))
    model = keras.Model(
        inputs, keras.layers.Softmax()(keras.layers.GlobalAveragePooling2D()(Counting()(inputs)))
    )
    traces.clear()
    images, labels = colours(10)
    kt.evaluate(model, tf.data.Dataset.from_tensor_slices((images, labels)).batch(4))
    assert len(traces) == 1


def test_model_is_not_changed(several):
    before = [weight.numpy() for weight in several.weights]
    images, labels = colours(12, size=32)
    history = several.history if hasattr(several, "history") else None
    kt.evaluate(several, (images, {"colour": labels, "age": labels.astype("float32")}))
    assert all(np.array_equal(old, new) for old, new in zip(before, several.weights, strict=True))
    assert getattr(several, "history", None) is history


def test_data_uses_test_before_validation_and_names_the_files(tiny, capsys):
    images, labels = colours(60, size=32)
    data = kt.data.from_arrays(images, [NAMES[i] for i in labels], validation=0.2, test=0.3, seed=0)
    model = kt.build_model(small(), kt.tasks.Classification(data.class_names))
    data.files = {"test": [f"photo {i}.jpg" for i in range(len(data.targets["test"]))]}
    report = kt.evaluate(model, data)
    assert report["about"]["data"]["split"] == "test"
    assert report["about"]["data"]["digest"] == data.digest
    assert report["support"] == report["about"]["data"]["examples"] == len(data.targets["test"])
    for mistake in report["mistakes"]:
        assert mistake["file"] == f"photo {mistake['index']}.jpg"
        assert mistake["target"] == data.class_names[data.targets["test"][mistake["index"]]]
    capsys.readouterr()
    data.test = None
    report = kt.evaluate(model, data)
    assert report["about"]["data"]["split"] == "validation"
    assert report["support"] == len(data.targets["validation"])
    remark = "on the 12 validation images: optimistic if they chose the epoch"
    assert f"no test split: measured {remark}" in capsys.readouterr().out
    assert f"no test split: measured {remark}" in report["about"]["notes"]
    assert report["measured_on"] == remark


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({}, "on the 4 images that chose the epoch: optimistic"),
        (
            {"digest": "of other data"},
            "on the 4 validation images: optimistic if they chose the epoch",
        ),
        (
            {"refit": {"examples": 20, "stages": [], "history": {}}},
            "on 4 images that the model was trained on in the end (refit): too optimistic",
        ),
    ],
)
def test_the_number_of_the_validation_split_says_what_it_is_right_under_itself(record, expected):
    images, labels = colours(20)
    data = kt.data.from_arrays(images, labels, validation=0.2)
    record = {"digest": data.digest, "best_epoch": 0, **record}
    report = kt.evaluate(plain_classifier(), data, history=record)
    lines = str(report).splitlines()
    (number,) = (at for at, line in enumerate(lines) if line.startswith("accuracy "))
    assert lines[number + 1] == expected
    shown = re.search(r'id="accuracy".*?</li>', report.to_html())[0]
    assert re.findall(r'<span class="more">(.*?)</span>', shown)[1] == expected

    data.test = data.validation
    assert "measured_on" not in kt.evaluate(plain_classifier(), data, history=record)


def test_several_tasks_are_measured_by_name(several):
    images, labels = colours(20, size=32)
    ages = np.random.default_rng(0).uniform(0, 9, 20).astype("float32")
    report = kt.evaluate(several, (images, {"colour": labels, "age": ages}))
    predicted = several.predict(images, verbose=0)
    assert report["colour"]["accuracy"] == np.mean(predicted["colour"].argmax(1) == labels)
    assert report["age"]["mae"] == pytest.approx(
        abs(predicted["age"][:, 0] - ages).mean(), rel=1e-4
    )
    assert report["age"]["unit"] == "years"
    assert list(report) == ["colour", "age", "about"]


def test_task_without_targets_is_left_out_with_a_note(several, capsys):
    images, labels = colours(20, size=32)
    report = kt.evaluate(several, (images, {"colour": labels}))
    assert list(report) == ["colour", "about"]
    assert "no targets of 'age'" in capsys.readouterr().out


def test_weight_zero_is_the_same_as_leaving_the_example_out(several):
    images, labels = colours(40, size=32)
    ages = np.arange(40, dtype="float32")
    known = np.random.default_rng(0).random(40) < 0.6
    weights = {"colour": known.astype("float32"), "age": np.ones(40, "float32")}
    targets = {
        "colour": np.where(known, labels, -1),
        "age": ages,
    }  # a missing label may be anything
    report = kt.evaluate(several, (images, targets, weights))
    left = kt.evaluate(several, (images[known], {"colour": labels[known], "age": ages[known]}))
    assert report["colour"]["confusion"] == left["colour"]["confusion"]
    assert report["colour"]["support"] == known.sum()
    assert report["age"]["support"] == 40
    kept = [mistake["index"] for mistake in report["colour"]["mistakes"]]
    assert kept == [
        np.flatnonzero(known)[mistake["index"]] for mistake in left["colour"]["mistakes"]
    ]


def test_other_weights_do_not_change_the_scores(capsys):
    model, (images, labels) = plain_classifier(), colours(30)
    weights = np.random.default_rng(0).uniform(0.5, 2, 30)
    report = kt.evaluate(model, (images, labels, weights))
    assert report["confusion"] == kt.evaluate(model, (images, labels))["confusion"]
    assert "count as 1" in capsys.readouterr().out


def test_mistakes_are_the_most_confident_ones_of_all_batches():
    model, (images, labels) = plain_classifier(), colours(200)
    report = kt.evaluate(
        model, tf.data.Dataset.from_tensor_slices((images, labels)).batch(16), max_mistakes=5
    )
    predicted = model.predict(images, verbose=0)
    wrong = [(predicted[i].max(), i) for i in range(200) if predicted[i].argmax() != labels[i]]
    expected = [i for _, i in sorted(wrong, key=lambda pair: -pair[0])[:5]]
    assert len(wrong) > 5
    assert [mistake["index"] for mistake in report["mistakes"]] == expected
    for mistake in report["mistakes"]:
        i = mistake["index"]
        assert mistake["target"] == str(labels[i])
        assert mistake["predicted"] == str(predicted[i].argmax())
        assert mistake["score"] == pytest.approx(predicted[i].max(), abs=1e-5)
    pictures = [
        mistake.picture for mistake in report._results.mistakes
    ]  # the picture is in the page only
    shown = tf.io.decode_png(base64.b64decode(pictures[0].partition(",")[2])).numpy()
    assert np.array_equal(shown, images[expected[0]])


@pytest.mark.parametrize(
    ("shape", "expected"), [((200, 300, 3), (64, 96, 3)), ((96, 40, 1), (96, 40, 3))]
)
def test_large_pictures_are_made_small(shape, expected):
    image = np.full((1, *shape), 200, "uint8")
    model = keras.Sequential(
        [keras.Input(shape), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)]
    )
    model.add(keras.layers.Softmax())
    report = kt.evaluate(model, (image, [int(1 - model.predict(image, verbose=0).argmax())]))
    picture = report._results.mistakes[0].picture
    assert picture.startswith("data:image/jpeg;base64,")
    shown = tf.io.decode_jpeg(base64.b64decode(picture.partition(",")[2])).numpy()
    assert shown.shape == expected
    assert abs(shown.astype(int) - 200).max() <= 3  # JPEG


def test_no_mistakes_are_kept_when_none_are_asked_for():
    assert kt.evaluate(plain_classifier(), colours(30), max_mistakes=0)["mistakes"] == []


def test_plain_model_with_float_targets_is_a_regression():
    images, _ = colours(30)
    targets = images.astype("float32").mean((1, 2)) + np.array([1.0, -2.0, 0.0])
    report = kt.evaluate(plain_regressor(), (images, targets))
    assert report["kind"] == "regression"
    assert report["mae"] == pytest.approx(1.0, abs=1e-4)
    assert [output["bias"] for output in report["outputs"]] == pytest.approx([-1, 2, 0], abs=1e-4)


def test_task_says_what_a_plain_model_answers():
    images, labels = colours(40)
    report = kt.evaluate(plain_classifier(), (images, labels), task=kt.tasks.Classification(NAMES))
    assert list(report["classes"]) == NAMES


def test_facts_about_the_run(tiny):
    images, labels = colours(20, size=32)
    about = kt.evaluate(tiny, (images, labels))["about"]
    assert about["model"]["backbone"] == "tiny"
    assert about["model"]["parameters"] == tiny.count_params()
    assert about["model"]["megabytes"] == pytest.approx(tiny.count_params() * 4 / 1e6)
    assert about["data"]["image_size"] == [32, 32]
    assert about["speed"]["images_per_second"] > 0
    assert about["training"] is None


def test_fine_tuned_model_brings_its_history(tiny):
    images, labels = colours(40, size=32)
    model = keras.models.clone_model(tiny)
    stages = [{"name": "head", "epochs": [0, 0]}, {"name": "all", "epochs": [1, 1]}]
    history = types.SimpleNamespace(
        history={"loss": [2.0, 1.0]}, epoch=[0, 1], record={"stages": stages, "seed": 3}
    )
    model.history = history
    about = kt.evaluate(model, (images, labels))["about"]
    assert about["history"] == {"loss": [2.0, 1.0]}
    assert about["epochs"] == [0, 1]
    assert about["training"]["seed"] == 3
    saved = {**history.record, "history": history.history}  # what run.json holds
    assert (
        kt.evaluate(tiny, (images, labels), history=saved)["about"]["training"] == about["training"]
    )
    assert kt.evaluate(tiny, (images, labels), history=saved)["about"]["epochs"] == [0, 1]


def test_plain_fit_history_gives_curves():
    images, labels = colours(40)
    layers = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3, activation="softmax")]
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Rescaling(1 / 255), *layers])
    model.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(images, labels, epochs=2, verbose=0)
    about = kt.evaluate(model, (images, labels), history=history)["about"]
    assert about["history"]["accuracy"] == pytest.approx(history.history["accuracy"])
    assert about["training"] is None


def unnormalised():
    inputs = keras.Input((8, 8, 3))
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(inputs))


def dataset(images, labels):
    return tf.data.Dataset.from_tensor_slices((images, labels))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (lambda x, y: dataset(x, y).batch(4).take(0), "at least one example"),
        (lambda x, y: (x[:0], y[:0]), "at least one example"),
        (
            lambda x, y: dataset(x, y),
            r"must have shape \(None, 8, 8, 3\)\. Given: \(8, 8, 3\)\. Batch the dataset",
        ),
        (lambda x, y: dataset(x, y).batch(4).repeat(), "must end"),
        (
            lambda x, y: dataset(x[:, :4], y).batch(4),
            r"Given: \(None, 4, 8, 3\)\. Set `image_size`",
        ),
        (
            lambda x, y: tf.data.Dataset.from_tensor_slices(x).batch(4),
            r"must give \(images, targets\)",
        ),
        (lambda x, y: (x, y[:-1]), "equal lengths. Given: 12, 11"),
        (lambda x, y: (x,), "Given: a tuple of 1 parts"),
        (lambda x, y: x, r"must give \(images, targets\)"),
        (lambda x, y: 3, "must come from kt.data.*Given: int"),
        (
            lambda x, y: types.SimpleNamespace(test=None, validation=None),
            "test or validation split",
        ),
        (lambda x, y: (x, y + 1), r"class ids in \[0, 3\)\. Given: 3 at index"),
        (lambda x, y: (x, 2 * np.eye(3, dtype=int)[y]), r"or one-hot rows\. Given: \(12, 3\)"),
        (
            lambda x, y: (x, y, np.zeros(12)),
            "labelled example. Given: sample weight 0 for every example",
        ),
        (lambda x, y: (x, y.astype("float32")), r"shape \(12, 3\)\. Given: \(12, 1\)"),
        (lambda x, y: (x, {"a": y, "b": y}), "must have targets of .* Given: a, b"),
    ],
)
def test_wrong_data_is_an_error(data, message):
    with pytest.raises(checks.InputError, match=message):
        kt.evaluate(plain_classifier(), data(*colours(12)))


def test_outputs_that_are_no_probabilities_are_an_error():
    with pytest.raises(
        checks.InputError, match=r"probabilities that sum to 1\. Given: .* at index 0\. .*softmax"
    ):
        kt.evaluate(unnormalised(), colours(12))


def test_classes_of_the_data_must_be_those_of_the_model(tiny):
    images, labels = colours(12, size=32)
    data = types.SimpleNamespace(
        test=dataset(images, labels).batch(4),
        validation=None,
        class_names=["red", "green", "violet"],
    )
    with pytest.raises(checks.InputError, match="different: 'blue', 'violet'"):
        kt.evaluate(tiny, data)
    data.class_names = ["0", "1", "2"]  # plain numbers name nothing
    assert list(kt.evaluate(tiny, data)["classes"]) == NAMES


def test_numbered_classes_of_the_model_take_the_names_of_the_data():
    images, labels = colours(12)
    data = types.SimpleNamespace(
        test=dataset(images, labels).batch(4), validation=None, class_names=NAMES
    )
    report = kt.evaluate(plain_classifier(), data, task=kt.tasks.Classification(3))
    assert list(report["classes"]) == NAMES
    assert {mistake["target"] for mistake in report["mistakes"]} <= set(NAMES)


def test_targets_of_several_tasks_must_be_a_dict(several):
    images, labels = colours(12, size=32)
    with pytest.raises(checks.InputError, match="targets must be a dict by task, colour, age"):
        kt.evaluate(several, (images, labels))


def test_wrong_arguments_are_an_error():
    with pytest.raises(checks.InputError, match="`max_mistakes`"):
        kt.evaluate(plain_classifier(), colours(4), max_mistakes=-1)
    with pytest.raises(checks.InputError, match="`history` must be a Keras History"):
        kt.evaluate(plain_classifier(), colours(4), history=[1.0])


def test_images_that_are_no_pixels_are_refused(tiny):
    images, labels = colours(6, size=32)
    with pytest.raises(
        checks.InputError, match=r"`data`'s images must have values 0\.\.255.*Multiply them by 255"
    ):
        kt.evaluate(tiny, (images / 255, labels))
    with pytest.raises(checks.InputError, match="finite"):
        kt.evaluate(tiny, (images * np.float32(np.nan), labels))
    kt.evaluate(tiny, (images // 200, labels))  # dark, but pixels


def test_a_dark_start_is_no_mistake(tiny):
    images, labels = colours(40, size=32)
    images = images.astype("float32")
    images[:32] /= 300
    assert kt.evaluate(tiny, (images, labels))["support"] == 40
    with pytest.raises(checks.InputError, match=r"0\.\.255"):
        kt.evaluate(tiny, (images[:32], labels[:32]))


def test_a_plain_network_fed_pixels_is_told_once_and_silenced(capsys):
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(3, 3)(inputs))
    model = keras.Model(inputs, keras.layers.Softmax()(x))
    report = kt.evaluate(model, colours(70))
    assert capsys.readouterr().out.count("no rescaling inside") == 1
    quiet = kt.evaluate(model, colours(70), verbose=0)
    assert capsys.readouterr().out == ""
    assert quiet["about"]["notes"] == report["about"]["notes"]
    assert "no rescaling inside" in report["about"]["notes"][0]


def test_another_number_of_channels_says_so(tiny):
    images, labels = colours(6, size=32)
    with pytest.raises(
        checks.InputError,
        match="must have 3 channels as the model takes. Given: 1. Set `channels=3`",
    ):
        kt.evaluate(tiny, (images[..., :1], labels))


def logits_model(loss):
    images = keras.Input((8, 8, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(images))
    model = keras.Model(images, keras.layers.Dense(3)(x))
    model.compile(loss=loss)
    return model


def test_logits_are_measured_as_the_compiled_loss_says():
    images = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), np.uint8)
    ids = np.array([0, 1, 2, 0, 1, 2])
    softmax = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model = logits_model(softmax)
    right = (model.predict(images, verbose=0).argmax(1) == ids).mean()
    assert kt.evaluate(model, (images, ids), verbose=0)["accuracy"] == pytest.approx(right)
    one_hot = logits_model(keras.losses.CategoricalCrossentropy(from_logits=True))
    one_hot.set_weights(model.get_weights())
    report = kt.evaluate(one_hot, (images, np.eye(3)[ids]), verbose=0)
    assert report["kind"] == "classification"
    assert report["accuracy"] == pytest.approx(right)


def test_one_hot_targets_of_a_task_are_classes():
    images = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8)
    ids = np.array([0, 1, 2, 0, 1, 2])
    model = kt.build_model(small(), kt.tasks.Classification(3))
    expected = kt.evaluate(model, (images, ids), verbose=0)
    for rows in (np.eye(3)[ids], np.eye(3, dtype="uint8")[ids]):
        report = kt.evaluate(model, (images, rows), verbose=0)
        assert report["confusion"] == expected["confusion"]


def test_groups_have_the_scores_of_their_images_streamed_in_odd_batches(several):
    images, labels = colours(60, size=32)
    groups = np.where(np.arange(60) % 3 == 0, "night", "day")
    known = (np.arange(60) % 7 != 0).astype("float32")
    weights = {"colour": known, "age": np.ones(60, "float32")}
    data = (images, {"colour": labels, "age": labels + 30.0}, weights)
    report = kt.evaluate(several, tf.data.Dataset.from_tensor_slices(data).batch(11), groups=groups)
    outputs = several.predict(images, verbose=0)
    for name in ("day", "night"):
        rows = (groups == name) & (known == 1)
        scores = kt.metrics.classification_scores(labels[rows], outputs["colour"][rows], NAMES)
        found = report["colour"]["groups"][name]
        assert (found["accuracy"], found["support"]) == (scores["accuracy"], rows.sum())
        assert found["intervals"]["accuracy"] == scores["intervals"]["accuracy"]
        assert found["auc"] == pytest.approx(scores["auc"])
        errors = abs(outputs["age"][groups == name][:, 0] - labels[groups == name] - 30)
        assert report["age"]["groups"][name]["mae"] == pytest.approx(errors.mean(), rel=1e-5)
    worst = min(
        report["colour"]["groups"], key=lambda name: report["colour"]["groups"][name]["accuracy"]
    )
    lines = [line for line in str(report).splitlines() if line.startswith(("day: ", "night: "))]
    assert lines[0].startswith(f"{worst}: accuracy 0.")
    assert "Each group, the worst first" in report.to_html()

    by_target = kt.evaluate(several, data, groups="colour")["age"]["groups"]
    supports = {name: found["support"] for name, found in by_target.items()}
    known_of = [int(((labels == label) & (known == 1)).sum()) for label in range(3)]
    assert supports == {**dict(zip("012", known_of, strict=True)), "(no label)": (known == 0).sum()}


def test_operating_points_are_told_and_bad_ones_refused():
    images, labels = colours(200)
    report = kt.evaluate(plain_classifier(), (images, labels), at="precision=0.85")
    points = report["operating_points"]
    assert points["at"] == "precision=0.85"
    assert points["answers"]["precision"] >= 0.85
    assert "% sure: " in str(report)
    assert "Answers to rely on: precision of at least 0.85" in report.to_html()
    for options, message in (
        ({"at": "f1=0.9"}, "`at` must be a precision or recall"),
        ({"groups": ["a"]}, "`groups` must have a value for each of 200 images. Given: 1"),
        ({"groups": np.arange(200)}, "`groups` must have at most 100 different values"),
        ({"groups": "breed"}, "or be the name of a target. Given: 'breed'"),
    ):
        with pytest.raises(checks.InputError, match=re.escape(message)):
            kt.evaluate(plain_classifier(), (images, labels), **options)
    unknown = (
        tf.data.Dataset.from_tensor_slices((images, labels)).batch(50).filter(lambda x, y: True)
    )
    with pytest.raises(checks.InputError, match="`groups` must have a value for each of 200 im"):
        kt.evaluate(plain_classifier(), unknown, groups=np.arange(210) % 2)
    task = kt.tasks.Regression(3)
    with pytest.raises(checks.InputError, match="`at` needs a task with a probability"):
        kt.evaluate(plain_regressor(), (images, np.zeros((200, 3))), task=task, at="recall=0.9")


def test_mistakes_show_the_places_that_their_answers_stand_on():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (12, 32, 32, 3)).astype("uint8")
    model = kt.build_model(kt.backbone("tiny", weights=None), kt.tasks.Classification(3), seed=0)
    report = kt.evaluate(model, (images, np.arange(12) % 3), explain="gradcam", verbose=0)
    shown = report._results.mistakes
    maps = kt.explain(model, images, method="gradcam", verbose=0)
    assert len(shown) > 4
    for example in shown:
        picture = images[example.index]
        expected = overlays.paint_heat(picture, maps.heat(example.index))
        assert example.heat_picture == examples.data_uri(expected)
    assert report.to_html().count("stands on") > len(shown)
    assert "heat_picture" not in report["mistakes"][0]
    with pytest.raises(checks.InputError, match="`explain`"):
        kt.evaluate(model, (images, np.arange(12) % 3), explain="gradcamm")


def test_a_method_that_does_not_fit_the_model_is_a_note():
    inputs = keras.Input((8, 8, 3))
    flat = keras.layers.Dense(2, activation="softmax")(keras.layers.Flatten()(inputs))
    model = keras.Model(inputs, flat)
    images = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 3)).astype("float32")
    report = kt.evaluate(model, (images, np.arange(8) % 2), explain="gradcam", verbose=0)
    assert any(note.startswith("no heat maps") for note in report["about"]["notes"])


def test_intervals_are_those_of_groups_where_images_belong_together(capsys):
    owners = np.arange(240) // 8
    images, labels = colours(240)
    rng = np.random.default_rng(1)
    labels = (labels + np.repeat(rng.random(30) < 0.4, 8)) % 3  # wrong together
    data = kt.data.from_arrays(
        images, labels, group=owners, test=0.8, validation=None, class_names=NAMES
    )
    model = plain_classifier()
    report = kt.evaluate(model, data, verbose=0)
    groups = data.groups["test"]
    answers = model.predict(data.test, verbose=0).argmax(1)
    expected = kt.metrics.share_interval(answers == data.targets["test"], groups=groups)
    assert report["intervals"]["accuracy"] == pytest.approx(expected)
    images_alone = kt.metrics.share_interval(answers == data.targets["test"])
    for name in ("accuracy", "f1", "auc"):
        assert np.ptp(report["intervals"][name]) > 1.3 * np.ptp(images_alone)
    assert any("intervals are those of so many groups" in line for line in report["about"]["notes"])


def test_every_task_widens_the_intervals_of_groups():
    owners = np.arange(160) // 8
    rng = np.random.default_rng(0)
    together = np.repeat(rng.normal(size=20), 8)
    has = (rng.random((160, 2)) < 0.5).astype("float32")
    is_wrong = np.stack([together > 0.5] * 2, axis=1)
    masks = rng.integers(0, 2, (160, 4, 4))
    wrong = (together > 0.5)[:, None, None]
    cases = {
        "mae": (kt.tasks.Regression(), np.zeros((160, 1)), together[:, None]),
        "accuracy": (kt.tasks.MultiLabel(["a", "b"]), has, np.abs(has - 0.9 * is_wrong)),
        "mean_iou": (
            kt.tasks.Segmentation(["a", "b"]),
            masks,
            np.eye(2)[np.where(wrong, 1 - masks, masks)],
        ),
    }
    for name, (task, targets, outputs) in cases.items():
        widths = []
        for groups in (None, owners):
            scorer = task.scorer()
            scorer.add(*task.check(targets, outputs))
            scorer.groups = groups
            widths.append(np.ptp(scorer.scores()["intervals"][name]))
        assert widths[1] / widths[0] == pytest.approx(np.sqrt(8), rel=0.25), name
