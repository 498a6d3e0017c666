import json

import keras
import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.studies import rows

OPTIONS = {"plan": "full", "epochs": 1, "verbose": 0}


def trunk():
    keras.utils.set_random_seed(0)
    x = image = keras.Input((32, 32, 3))
    for number in (1, 2):
        x = keras.layers.Conv2D(6, 3, strides=2, activation="relu", name=f"block{number}_conv")(x)
    return kt.backbone(keras.Model(image, x, name="small"), preprocess="tf")


def scenes(seed=0):
    return kt.data.scenes(64, image_size=32, targets=["class", "background"], test=0.3, seed=seed)


def kinds(data):
    return {name: kt.tasks.Classification(names) for name, names in data.class_names.items()}


@pytest.fixture(scope="module")
def data():
    return scenes()


@pytest.fixture(scope="module")
def found(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    backbone = trunk()
    before = backbone.get_weights()
    comparison = kt.compare_tasks(
        backbone, kinds(data), data, seeds=2, options=OPTIONS, run_dir=folder, verbose=0
    )
    return {"comparison": comparison, "folder": folder, "backbone": backbone, "before": before}


def test_the_backbone_is_as_it_was(found):
    after = found["backbone"].get_weights()
    assert all(
        np.array_equal(one, other) for one, other in zip(found["before"], after, strict=True)
    )


def test_scores_are_those_of_the_same_trainings_by_hand(found, data):
    backbone = trunk()
    backbone.set_weights(found["before"])
    tasks = kinds(data)
    other = data.with_orders(data.seed + 1)  # the second seed's
    for name, given, task in (
        ("single", other.only("class"), tasks["class"]),
        ("joint", other, tasks),
    ):
        backbone.set_weights(found["before"])
        keras.utils.set_random_seed(1)
        model = kt.build_model(backbone, task)
        kt.fine_tune(model, given, seed=1, **OPTIONS)
        report = kt.evaluate(model, given, verbose=0)
        expected = report["accuracy"] if name == "single" else report["class"]["accuracy"]
        assert found["comparison"]["tasks"]["class"]["seeds"][name][1] == expected


def test_what_was_finished_is_not_trained_again(found, data, monkeypatch):
    kept = json.loads((found["folder"] / "comparison.json").read_text())
    assert len(kept["rows"]) == 6
    kept["rows"] = kept["rows"][:-1]  # as if killed in the last training
    (found["folder"] / "comparison.json").write_text(json.dumps(kept))
    calls, fine_tune = [], kt.fine_tune
    monkeypatch.setattr(
        kt.training,
        "fine_tune",
        lambda *args, **kwargs: calls.append(1) or fine_tune(*args, **kwargs),
    )
    again = kt.compare_tasks(
        found["backbone"],
        kinds(data),
        data,
        seeds=2,
        options=OPTIONS,
        run_dir=found["folder"],
        verbose=0,
    )
    assert len(calls) == 1
    assert again["tasks"] == found["comparison"]["tasks"]
    assert again["similarity"] == found["comparison"]["similarity"]


def test_a_folder_of_another_comparison_is_refused(found, data):
    with pytest.raises(ValueError, match="the same options"):
        kt.compare_tasks(
            found["backbone"], kinds(data), data, seeds=2, run_dir=found["folder"], verbose=0
        )
    again = {"options": OPTIONS, "seeds": 2, "run_dir": found["folder"], "verbose": 0}
    with pytest.raises(ValueError, match="the same data"):
        kt.compare_tasks(found["backbone"], kinds(data), data.with_orders(data.seed + 7), **again)


def test_other_tasks_weights_and_stages_are_another_comparison(found, data):
    again = {"options": OPTIONS, "seeds": 2, "run_dir": found["folder"], "verbose": 0}
    others = {
        name: kt.tasks.Classification(names, hidden=[4]) for name, names in data.class_names.items()
    }
    with pytest.raises(ValueError, match="the same tasks"):
        kt.compare_tasks(found["backbone"], others, data, **again)
    backbone = trunk()
    backbone.get_layer("block1_conv").kernel.assign_add(backbone.get_layer("block1_conv").kernel)
    with pytest.raises(ValueError, match="the same backbone"):
        kt.compare_tasks(backbone, kinds(data), data, **again)
    shown = [rows.describe([kt.Stage(epochs=1, learning_rate=rate)]) for rate in (1e-3, 1e-4)]
    assert shown[0] != shown[1]


def test_seeds_differ_in_the_orders_and_in_nothing_else_that_is_given(data):
    again = data.with_orders(data.seed + 1)
    assert sorted(again.order(0)) == sorted(data.order(0))
    assert again.order(0).tolist() != data.order(0).tolist()
    np.testing.assert_array_equal(again.targets["test"]["class"], data.targets["test"]["class"])
    mixed = kt.data.mix({"one": scenes(), "two": scenes(1)}, sampling="equal", seed=3)
    assert mixed.with_orders(4).order(0).tolist() != mixed.order(0).tolist()
    assert mixed.with_orders(3).order(0).tolist() == mixed.order(0).tolist()


def test_all_trainings_have_the_same_options(monkeypatch):
    numbers = kt.data.scenes(96, image_size=32, targets=["class", "count"], test=0.3)
    mixed = {"class": kt.tasks.Classification(8), "count": kt.tasks.Regression()}
    given = []
    monkeypatch.setattr(
        kt.training, "fine_tune", lambda model, data, **options: given.append(options)
    )
    kt.compare_tasks(trunk(), mixed, numbers, seeds=1, verbose=0, batches=0)
    assert len(given) == 3
    assert given[0] == given[1] == given[2]
    assert given[0]["refit"] is False


def test_nothing_to_find():
    """No object in any held-out image: a detection has no score."""
    images = np.zeros((4, 32, 32, 3), "uint8")
    labels = {"boxes": [{"boxes": [], "labels": []}] * 4, "kind": ["a", "b"] * 2}
    data = kt.data.from_arrays(images, labels, class_names={"boxes": ["cat"]}, validation=0.5)
    task = {"boxes": kt.tasks.Detection(["cat"], width=4), "kind": kt.tasks.Classification(2)}
    options = {"stages": [kt.Stage(epochs=1, train="head")]}
    with pytest.raises(kt.InputError, match="something to find for 'boxes'"):
        kt.compare_tasks(
            kt.backbone("tiny", weights=None),
            task,
            data,
            seeds=1,
            options=options,
            batches=0,
            verbose=0,
        )


def test_schemes_and_splits_are_told_from_others(data):
    shown = [rows.describe(kt.models.Experts(count=count)) for count in (2, 8)]
    assert shown[0] != shown[1]
    json.dumps(shown)
    kept = [rows.describe_data(each) for each in (data, scenes(), data.with_orders(1), scenes(1))]
    assert kept[0] == kept[1]
    assert kept[0] != kept[2]
    assert kept[0]["rows"] == kept[2]["rows"] != kept[3]["rows"]


def test_data_may_differ_from_seed_to_seed(data, monkeypatch):
    made, seen = {}, []

    def of_seed(seed):
        made[seed] = scenes(seed)
        return made[seed]

    monkeypatch.setattr(
        kt.training,
        "fine_tune",
        lambda model, data, *, seed, **options: seen.append((seed, data.digest)),
    )
    options = {"options": OPTIONS, "batches": 0, "verbose": 0}
    found = kt.compare_tasks(trunk(), kinds(data), of_seed, seeds=2, **options)
    assert found["similarity"] is None
    assert set(made) == {0, 1}
    assert len(seen) == 6
    assert [seen[0], seen[3]] == [(seed, made[seed].digest) for seed in (0, 1)]
    assert made[0].digest != made[1].digest


def test_each_training_is_told(data, capsys):
    kt.compare_tasks(trunk(), kinds(data), data, seeds=1, options=OPTIONS, batches=0)
    lines = [line for line in capsys.readouterr().out.splitlines() if "seed 0" in line]
    assert [line.split(",")[0] for line in lines] == [
        f"keras_transfer: {arm}" for arm in ("joint", "class", "background")
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": {"class": kt.tasks.Classification(8)}}, "two or more tasks"),
        (
            {"task": {"joint": kt.tasks.Classification(8), "class": kt.tasks.Classification(8)}},
            "stands for all",
        ),
        (
            {"task": {"class": kt.tasks.Classification(8), "age": kt.tasks.Regression()}},
            "known name. Given: 'age'",
        ),
        ({"options": {"seed": 3}}, "leave 'seed' to kt.compare_tasks"),
        ({"options": ["seed"]}, "must be a dict"),
        ({"seeds": 0}, "`seeds` must be a whole number"),
        ({"balancing": "uncertain"}, "Close names: 'uncertainty'"),
        ({"balancing": {"clas": 1.0}}, "'clas'"),
        ({"sharing": {"class": "blok*"}}, "blok"),
        ({"data": 3}, "must come from kt.data"),
    ],
)
def test_what_cannot_be(data, change, message):
    given = {"backbone": trunk(), "task": kinds(data), "data": data, **change}
    parts = [given.pop(name) for name in ("backbone", "task", "data")]
    with pytest.raises(ValueError, match=message):
        kt.compare_tasks(*parts, **given)
