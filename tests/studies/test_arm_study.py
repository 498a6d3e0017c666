import csv
import io
import pathlib

import keras
import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.studies import trials

ROOT = str(pathlib.Path(__file__).parents[2])
TWO = {"plan": "full", "epochs": 1}


def trunk():
    keras.utils.set_random_seed(0)
    x = image = keras.Input((32, 32, 3))
    for number in (1, 2):
        x = keras.layers.Conv2D(6, 3, strides=2, activation="relu", name=f"block{number}_conv")(x)
    return kt.backbone(keras.Model(image, x, name="small"), preprocess="tf")


def scenes(seed=0):
    return kt.data.scenes(64, image_size=32, test=0.3, seed=seed)


def mine(data, seed):
    return 0.5 + seed / 10


ARMS = {
    "probe": "probe",
    "scratch": {"arm": "scratch", "epochs": 1},
    "full": TWO,
    "mine": mine,
}


@pytest.fixture(scope="module")
def data():
    return scenes()


@pytest.fixture(scope="module")
def found(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    backbone = trunk()
    before = backbone.get_weights()
    options = {"backbone": backbone, "seeds": 2, "images": [0.5], "run_dir": folder, "verbose": 0}
    comparison = kt.compare(data, ARMS, **options)
    return {
        "comparison": comparison,
        "options": options,
        "folder": folder,
        "before": before,
        "backbone": backbone,
    }


def without_times(comparison):
    rows = []
    for row in comparison["rows"]:
        rows.append({name: value for name, value in row.items() if "seconds" not in name})
    return rows


def test_the_backbone_is_as_it_was_and_nothing_is_left(found):
    after = found["backbone"].get_weights()
    assert all(map(np.array_equal, found["before"], after))
    assert [path.name for path in found["folder"].iterdir()] == ["comparison.json"]


def test_scores_are_those_of_the_same_trainings_by_hand(found, data):
    seed = 1
    for name in ("full", "probe"):
        backbone = trunk()
        backbone.set_weights(found["before"])
        own = data.with_orders(data.seed + seed)
        keras.utils.set_random_seed(seed)
        model = kt.build_model(backbone, kt.tasks.Classification(data.class_names), seed=seed)
        if name == "full":
            kt.fine_tune(model, own, seed=seed, verbose=0, **TWO)
        else:
            kt.training.solve_head(model, own.joined())
        expected = kt.evaluate(model, own, verbose=0)["accuracy"]
        cell = found["comparison"]["arms"][name]["scores"]["classification"]
        assert cell["seeds"][seed] == expected


def test_random_weights_are_others_for_each_seed_and_not_the_backbones(found, data):
    setting = trials.Setting(data, None, found["backbone"], {}, {}, {}, "")
    arm = kt.studies.arms.make(["scratch"])["scratch"]
    kernels = []
    for seed in (1, 2):  # the backbone was made with 0
        keras.utils.set_random_seed(seed)
        random = setting.backbone_of(arm, data)
        kernels.append(np.asarray(random.get_layer("block1_conv").kernel))
    assert not np.array_equal(*kernels)
    assert not np.array_equal(kernels[0], found["before"][0])


def test_curves_have_a_point_for_each_number_of_images(found, data):
    labelled = len(data.targets["train"]) + len(data.targets["validation"])
    for points in found["comparison"]["curves"]["classification"].values():
        assert [point["images"] for point in points] == [round(labelled / 2), labelled]
        assert all(len(point["seeds"]) == 2 for point in points)


def test_a_solved_head_is_trained_once_for_all_seeds(found):
    rows = [row for row in found["comparison"]["rows"] if row["arm"] == "probe"]
    assert [row.get("repeats") for row in rows if row["of"] is None] == [None, 0]
    assert all("repeats" not in row for row in rows if row["of"] is not None)


@pytest.mark.parametrize(
    ("options", "solved"), [({}, {"probe", "head_only"}), ({"epochs": 1}, {"probe"})]
)
def test_a_head_that_is_trained_or_stands_on_random_weights_has_its_own_model_for_each_seed(
    options, solved, data, monkeypatch
):
    def train(setting, trial):
        row = {"arm": trial.arm, "seed": trial.seed, "of": None, "images": 9, "seconds": 1.0}
        scores = {"classification": 0.5 + trial.seed / 10}
        return {**row, "scores": scores, "chance": {}, "parameters": 3}

    monkeypatch.setattr(trials, "train", train)
    arms = {
        "probe": "probe",
        "head_only": "head_only",
        "random": {"plan": "head_only", "weights": None},
    }
    found = kt.compare(data, arms, backbone=trunk(), seeds=2, options=options, verbose=0)
    assert {row["arm"] for row in found["rows"] if "repeats" in row} == solved
    assert found["about"]["measured_on"] == "test images"
    assert "optimistic" not in found["conclusions"][-1]
    without = data.without("test")
    found = kt.compare(without, arms, backbone=trunk(), seeds=2, options=options, verbose=0)
    assert found["conclusions"][-1].startswith("all was measured on the validation images")


def test_killed_at_five_moments_it_ends_with_the_same_table(found, data, tmp_path, monkeypatch):
    """The interruption comes after 1, 3, 5, ... trainings of each call; none is repeated."""
    train, trained = trials.train, []
    options = {**found["options"], "run_dir": tmp_path}

    def interrupted(setting, trial):
        if len(trained) == interrupted.limit:
            raise KeyboardInterrupt
        trained.append(trial)
        return train(setting, trial)

    monkeypatch.setattr(trials, "train", interrupted)
    for limit in (0, 1, 4, 8, 11):
        interrupted.limit = limit
        with pytest.raises(KeyboardInterrupt):
            kt.compare(data, ARMS, **options)
    interrupted.limit = 99
    again = kt.compare(data, ARMS, **options)
    assert without_times(again) == without_times(found["comparison"])
    assert len(trained) == len(set(trained)) == 15


def test_an_arm_may_be_added_and_none_changed(found, data, monkeypatch):
    monkeypatch.setattr(trials, "train", None)
    more = {**ARMS, "other": lambda data, seed: 0.9 - seed / 10}
    with pytest.raises(TypeError):  # the new arm, and no other, would be trained
        kt.compare(data, more, **found["options"])
    again = kt.compare(data, {"mine": mine}, **found["options"])
    assert again["arms"]["mine"] == found["comparison"]["arms"]["mine"] | {"scores": {
        "classification": {
            name: value
            for name, value in found["comparison"]["arms"]["mine"]["scores"]["classification"].items()
            if name not in ("gain", "gain_interval", "p", "verdict")
        }
    }}  # fmt: skip
    with pytest.raises(kt.InputError, match="another arm of the name 'full'"):
        kt.compare(data, {"full": {"plan": "full", "epochs": 2}}, **found["options"])
    with pytest.raises(kt.InputError, match="the same data"):
        kt.compare(scenes(3), ARMS, **found["options"])


def test_going_on_says_how_much_was_finished(found, data, capsys):
    kt.compare(data, {"mine": mine}, **{**found["options"], "seeds": 3, "verbose": 1})
    assert "going on after 4 of 6 trainings" in capsys.readouterr().out


def test_csv_has_every_training(found, tmp_path):
    found["comparison"].save(tmp_path / "table.csv")
    lines = list(csv.DictReader(io.StringIO((tmp_path / "table.csv").read_text())))
    assert len(lines) == 16
    assert {line["arm"] for line in lines} == set(ARMS)
    assert float(lines[-1]["value"]) == 0.6


@pytest.mark.compiled
@pytest.mark.slow
def test_processes_give_the_same_table_to_the_bit(data, monkeypatch):
    monkeypatch.syspath_prepend(ROOT)  # where other processes find this module
    options = {"backbone": trunk(), "seeds": 2, "verbose": 0}
    some = {"probe": "probe", "full": TWO, "inline": lambda data, seed: seed / 4}
    alone = kt.compare(data, some, **options)
    together = kt.compare(data, some, jobs=2, **options)
    assert without_times(together) == without_times(alone)


@pytest.mark.compiled
@pytest.mark.slow
def test_a_ray_cluster_gives_the_same_table_to_the_bit(data):
    pytest.importorskip("ray", reason="needs ray")
    options = {"backbone": trunk(), "seeds": 2, "verbose": 0}
    alone = kt.compare(data, ARMS, **options)
    together = kt.compare(data, ARMS, jobs=2, ray="local", **options)
    assert without_times(together) == without_times(alone)


WRONG = [
    ({"seeds": 1}, "`seeds` must be at least 2 for intervals. Given: 1. Or set `level=None`"),
    ({"seeds": 0}, "`seeds` must be a whole number"),
    ({"level": 1.0}, "`level` must be a number"),
    ({"metric": "mae"}, "`metric` must be a score of a classification"),
    ({"metric": {"age": "mae"}}, "`metric` must be a known name. Given: 'age'"),
    ({"reference": "prob"}, "Close names: 'probe'"),
    ({"images": [9999]}, "the labelled images, or shares of them. Given: 9999"),
    ({"jobs": 0}, "`jobs` must be a whole number of at least 1"),
    ({"ray": ""}, "`ray` must be an address"),
    ({"options": {"seed": 3}}, "`options` must leave 'seed' to kt.compare"),
    ({"options": {"epoch": 3}}, "Close names: 'epochs'"),
    ({"arms": {"a": {"plan": "two_stages"}}}, "arm 'a': `plan` must be a known name"),
    ({"arms": ["cross_stitch"]}, "arm 'cross_stitch': `sharing` must be left out for a single task"),
    ({"data": np.zeros(3)}, "`data` must come from kt.data, be arrays"),
    ({"data": lambda seed: np.zeros(3)}, "`data` must come from kt.data, be arrays"),
    ({"data": lambda seed: scenes().without("test").without("validation")}, "to measure on"),
    ({"data": scenes().without("test"), "options": {"refit": True}}, "`refit` must be left out"),
    ({"data": scenes().without("test"), "arms": {"a": {"refit": True}}}, "`refit` must be left out"),
    ({"backbone": "Mobilnet"}, "arm 'probe': `source` must be a known name"),
]  # fmt: skip


@pytest.mark.parametrize(("changed", "message"), WRONG)
def test_wrong_input_is_one_line_before_anything_trains(changed, message, data, monkeypatch):
    monkeypatch.setattr(trials, "train", None)
    arguments = {"data": data, "arms": ["probe"], "backbone": "tiny", **changed}
    with pytest.raises(kt.InputError) as caught:
        kt.compare(arguments.pop("data"), arguments.pop("arms"), verbose=0, **arguments)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("result", ["good", None, float("nan")])
def test_what_a_function_returns_must_be_a_model_or_a_score(result, data):
    with pytest.raises(
        kt.InputError, match="arm 'odd', seed 0: a function must return a Keras model, or a"
    ):
        kt.compare(data, {"odd": lambda data, seed: result}, seeds=2, verbose=0)


def test_what_goes_wrong_later_says_in_which_training(data):
    def diverged(data, seed):
        model = kt.build_model(trunk(), kt.tasks.Classification(data.class_names))
        model.set_weights([np.full(value.shape, np.nan) for value in model.get_weights()])
        return model

    with pytest.raises(kt.InputError, match="arm 'diverged', seed 0: .* Training diverged"):
        kt.compare(data, {"diverged": diverged}, seeds=2, verbose=0)


def test_every_kind_of_task_is_compared_by_its_own_score():
    both = kt.data.from_arrays(
        np.random.default_rng(0).integers(0, 256, (24, 32, 32, 3), np.uint8),
        {"kind": ["a", "b"] * 12, "age": np.arange(24.0) / 3},
        test=0.4,
        validation=None,
    )
    found = kt.compare(
        both, {"sum": {**TWO}, "even": {**TWO, "balancing": "uncertainty"}},
        backbone=trunk(), seeds=2, verbose=0,
    )  # fmt: skip
    assert found["scores"] == {"kind": "accuracy", "age": "mae"}
    for task in ("kind", "age"):
        cell = found["arms"]["even"]["scores"][task]
        other = found["arms"]["sum"]["scores"][task]
        sign = 1 if task == "kind" else -1
        assert cell["gain"] == pytest.approx(sign * (cell["mean"] - other["mean"]))
