import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_transfer as kt
from keras_transfer.studies import candidates, trials


@pytest.fixture(scope="module")
def data():
    return kt.data.scenes(56, image_size=32, test=0.2)


def trunk(width, name, side=32):
    x = image = keras.Input((side, side, 3))
    x = keras.layers.Conv2D(width, 3, strides=2, activation="relu", name=f"{name}_conv")(x)
    return kt.backbone(keras.Model(image, x, name=name), preprocess="tf")


OPTIONS = {"finalists": 3, "epochs": 1, "max_parameters": 10**6, "verbose": 0}


@pytest.fixture(scope="module")
def named():
    keras.utils.set_random_seed(0)
    own = kt.build_model(kt.backbone("tiny"), kt.tasks.Classification(["left", "right", "up"]))
    return {
        "tiny": "tiny",
        "random": kt.backbone("tiny", weights=None),
        "own": own,
        "wide": trunk(8, "wide"),
        "absent": "kerashub:no_such_preset",
    }


@pytest.fixture(scope="module")
def ranking(named, data):
    return kt.rank_backbones(named, data, **OPTIONS)


def test_the_pretrained_network_is_before_the_random_one(ranking):
    places = {row["name"]: row["place"] for row in ranking["rows"]}
    assert places["tiny"] < places["random"]
    assert places["absent"] is None


def test_half_goes_on_for_twice_as_long(ranking):
    rounds = sorted(len(row["rounds"]) for row in ranking["rows"])
    assert rounds == [0, 0, 1, 2, 2]
    assert len(ranking["rows"][0]["rounds"]) == 2


def test_a_classifier_of_other_classes_has_two_more_scores(ranking):
    by_name = {row["name"]: row for row in ranking["rows"]}
    assert set(by_name["own"]["scores"]) == {"probe", "logme", "h_score", "knn", "leep", "nce"}
    assert set(by_name["tiny"]["scores"]) == {"probe", "logme", "h_score", "knn"}
    shared = {name: by_name["own"]["scores"][name] for name in by_name["tiny"]["scores"]}
    assert shared == pytest.approx(by_name["tiny"]["scores"], abs=1e-4)


def test_scores_are_those_of_all_labelled_images(ranking, data):
    labelled = data.without("test").joined()
    seen = kt.features.extract(kt.backbone("tiny"), labelled, pooling="avg", verbose=0)
    expected = kt.features.SCORES["probe"].function(np.asarray(seen), labelled.targets["train"])
    by_name = {row["name"]: row for row in ranking["rows"]}
    assert by_name["tiny"]["scores"]["probe"] == pytest.approx(expected, abs=1e-6)
    assert by_name["tiny"]["parameters"] == kt.backbone("tiny").count_params()


def test_images_may_be_smaller_than_a_known_network_takes():
    images = np.random.default_rng(0).integers(0, 256, (24, 8, 8, 3), np.uint8)
    data = kt.data.from_arrays(images, ["a", "b"] * 12)
    ranking = kt.rank_backbones([trunk(4, "small", side=8), "tiny"], data, verbose=0)
    assert ranking["best"] == "small"
    assert "at least 32 for tiny" in ranking["rows"][1]["reason"]


def test_images_of_one_group_are_not_on_both_sides_of_a_score():
    images = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), np.uint8)
    labels = ["a", "b", None, "b"] * 10
    data = kt.data.from_arrays(images, labels, group=np.arange(40) // 4, validation=None)
    ranking = kt.rank_backbones(["tiny"], data, finalists=0, verbose=0)
    known = np.arange(40) % 4 != 2
    seen = kt.features.extract(kt.backbone("tiny"), images, pooling="avg", verbose=0)
    ids = np.array([0, 1, 0, 1] * 10)[known]
    for name in ("probe", "knn"):
        score = kt.features.SCORES[name].function
        values = np.asarray(seen)[known]
        expected = score(values, ids, groups=(np.arange(40) // 4)[known])
        assert ranking["rows"][0]["scores"][name] == pytest.approx(expected, abs=1e-6)
        assert abs(expected - score(values, ids)) > 1e-6


def test_limits_leave_candidates_out_before_they_are_scored(data, monkeypatch):
    monkeypatch.setattr(candidates, "score", lambda *arguments: {"probe": 0.5})
    named = {"tiny": "tiny", "wide": trunk(8, "wide")}
    options = {"finalists": 0, "verbose": 0}
    small = kt.rank_backbones(named, data, max_parameters=1000, **options)
    assert [row["name"] for row in small.usable] == ["wide"]
    assert "more than 1,000" in small["rows"][-1]["reason"]
    slow = kt.rank_backbones(named, data, max_latency=1e-6, **options)
    assert slow["best"] is None
    assert "ms an image" in slow["rows"][0]["reason"]


def test_test_images_choose_nothing(data, monkeypatch):
    seen = []
    score = candidates.score

    def watched(candidate, part, split, names):
        seen.append(part)
        return score(candidate, part, split, names)

    monkeypatch.setattr(candidates, "score", watched)
    kt.rank_backbones(["tiny"], data, finalists=0, images=20, verbose=0)
    assert "test" not in seen[0].examples
    assert len(seen[0].targets["train"]) == 20


def test_numbers_are_ranked_by_the_scores_that_take_them():
    images = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), np.uint8)
    data = kt.data.from_arrays(images, images.mean(axis=(1, 2, 3)))
    ranking = kt.rank_backbones(["tiny"], data, finalists=0, verbose=0)
    assert set(ranking["rows"][0]["scores"]) == {"probe", "logme", "knn"}
    assert ranking["score"] == "mae"


def broken(side=32):
    """A network whose features are not finite."""
    image = keras.Input((side, side, 3))
    x = keras.layers.Conv2D(4, 3, strides=2, name="broken_conv")(image)
    model = keras.Model(image, keras.ops.log(-1.0 - keras.ops.abs(x)), name="broken")
    return kt.backbone(model, preprocess="tf")


def test_a_candidate_that_fails_is_listed_and_the_others_go_on(data, capsys):
    named = {"broken": broken(), "tiny": "tiny"}
    ranking = kt.rank_backbones(named, data, finalists=0)
    reason = "it cannot be scored: `features` must be finite. Given: row 0, which is not."
    assert ranking["best"] == "tiny"
    assert ranking["rows"][-1]["reason"] == reason
    assert f"broken is left out: {reason}" in capsys.readouterr().out
    with pytest.raises(kt.InputError) as caught:
        kt.rank_backbones({"broken": named["broken"]}, data, finalists=0, verbose=0)
    assert str(caught.value).startswith(
        "a candidate must be usable with `data`. Given: broken: it cannot"
    )


@pytest.mark.parametrize("left", [["tiny", "wide"], []])
def test_a_finalist_whose_training_fails_is_listed_and_the_others_go_on(left, data, monkeypatch):
    measure = trials.measure

    def fail(setting, trial):
        if not left:
            raise kt.InputError("no memory")
        if trial.arm not in left:
            raise tf.errors.ResourceExhaustedError(None, None, "no memory")
        return measure(setting, trial)

    monkeypatch.setattr(trials, "measure", fail)
    named = {"other": trunk(6, "other"), "tiny": "tiny", "wide": trunk(8, "wide")}
    options = {"finalists": 3, "epochs": 1, "verbose": 0}
    if not left:
        with pytest.raises(kt.InputError, match="other: its short training failed: no memory"):
            kt.rank_backbones(named, data, **options)
        return
    ranking = kt.rank_backbones(named, data, **options)
    assert [len(row["rounds"]) for row in ranking["rows"]] == [1, 1, 0]
    assert ranking["rows"][-1]["name"] == "other"
    assert ranking["rows"][-1]["reason"] == "its short training failed: no memory"
    assert ranking["about"]["validation_images"] == len(data.targets["validation"])
    low, high = ranking["rows"][0]["intervals"][0]
    assert low < ranking["rows"][0]["rounds"][0] < high


@pytest.mark.parametrize(("half", "best"), [(0.2, "a"), (0.01, "c")])
def test_the_half_that_goes_on_is_not_chosen_by_chance(half, best, data, monkeypatch):
    """By scores a comes before b, and b before c; the short trainings say the opposite."""
    found = {"a": 0.5, "b": 0.6, "c": 0.7}

    def measure(setting, trial):
        value = found[trial.arm]
        intervals = {"classification": [value - half, value + half]}
        facts = {"arm": trial.arm, "seed": trial.seed, "scores": {"classification": value}}
        return {**facts, "intervals": intervals}

    monkeypatch.setattr(trials, "measure", measure)
    monkeypatch.setattr(
        candidates, "score", lambda candidate, *arguments: {"probe": 1 - found[candidate.name]}
    )
    named = {name: trunk(2, name) for name in "cba"}
    ranking = kt.rank_backbones(named, data, finalists=3, verbose=0)
    assert ranking["best"] == best
    assert len(ranking["rows"][0]["rounds"]) == 2


def test_killed_at_any_moment_it_ends_with_the_same_ranking(
    named, ranking, data, tmp_path, monkeypatch
):
    """The interruption comes after 0, 1, ... further steps of each call; none is repeated."""
    begun, score, measure = [], candidates.score, trials.measure

    def count(key):
        if len(begun) >= count.limit:
            raise KeyboardInterrupt
        begun.append(key)

    def scored(candidate, *arguments):
        count(candidate.name)
        return score(candidate, *arguments)

    def measured(setting, trial):
        epochs = setting.arms[trial.arm].options["epochs"]
        count((trial.arm, epochs))
        return measure(setting, trial)

    monkeypatch.setattr(candidates, "score", scored)
    monkeypatch.setattr(trials, "measure", measured)
    for limit in (0, 2, 4, 6, 8):
        count.limit = limit
        with pytest.raises(KeyboardInterrupt):
            kt.rank_backbones(named, data, run_dir=tmp_path, **OPTIONS)
    count.limit = 99
    again = kt.rank_backbones(named, data, run_dir=tmp_path, **OPTIONS)
    assert len(begun) == len(set(begun)) == 4 + 3 + 2
    assert without_times(again) == without_times(ranking)
    assert [path.name for path in tmp_path.iterdir()] == ["ranking.json"]

    monkeypatch.setattr(candidates, "score", None)
    monkeypatch.setattr(trials, "measure", None)
    same = kt.rank_backbones(named, data, run_dir=tmp_path, **OPTIONS)
    assert same["rows"] == again["rows"]
    with pytest.raises(kt.InputError, match="another candidate of the name 'wide'"):
        kt.rank_backbones({**named, "wide": "tiny"}, data, run_dir=tmp_path, **OPTIONS)
    other = kt.data.scenes(56, image_size=32, test=0.2, seed=3)
    with pytest.raises(kt.InputError, match="a ranking with the same data"):
        kt.rank_backbones(named, other, run_dir=tmp_path, **OPTIONS)
    with pytest.raises(kt.InputError, match="`run_dir` must hold a comparison or none"):
        kt.compare(data, ["probe"], backbone="tiny", run_dir=tmp_path)


def without_times(ranking):
    rows = []
    for row in ranking["rows"]:
        rows.append({name: value for name, value in row.items() if name != "latency_ms"})
    return rows, ranking["agreement"], ranking["best"]


WRONG = [
    ([], {}, "`candidates` must be a list of backbones"),
    (["tiny", "tiny"], {}, "a candidate must come once. Given: 'tiny' twice"),
    (["tinny"], {}, "Close names: 'tiny'"),
    ([3], {}, "a candidate must be a name, a path or a model"),
    ([keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])], {}, "must come from kt.backbone"),
    (["tiny"], {"max_latency": 0}, "`max_latency` must be a number above 0"),
    (["tiny"], {"max_parameters": 1.5}, "`max_parameters` must be a whole number"),
    (["tiny"], {"finalists": -1}, "`finalists` must be a whole number of at least 0"),
    (["tiny"], {"data": np.zeros(3)}, "`data` must come from kt.data"),
    (["tiny"], {"task": kt.tasks.Classification(["a", "b"])}, "`labels` must lie in [0, 2)"),
    ([trunk(4, "other", side=48)], {}, "`data`'s images must have shape (None, 48, 48, 3)"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "options", "message"), WRONG)
def test_wrong_input_is_one_line_before_a_network_is_built(
    given, options, message, data, monkeypatch
):
    monkeypatch.setattr(candidates, "build", None)
    options = dict(options)
    with pytest.raises(kt.InputError) as caught:
        kt.rank_backbones(given, options.pop("data", data), **options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_memory_is_that_of_the_widest_moment():
    """A residual block: its input of 4 x 4 x 3 stays alive while the branch of 4 x 4 x 6 is computed."""
    image = keras.Input((4, 4, 3))
    wide = keras.layers.Conv2D(6, 1, use_bias=False, name="wide")(image)
    narrow = keras.layers.Conv2D(3, 1, use_bias=False, name="narrow")(wide)
    model = keras.Model(image, keras.layers.Add(name="add")([image, narrow]))
    assert candidates.working_memory(model) == 4 * (18 + 18 + 16 * (3 + 6 + 3))
