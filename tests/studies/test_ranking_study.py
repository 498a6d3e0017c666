import keras
import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.studies import candidates


@pytest.fixture(scope="module")
def data():
    return kt.data.scenes(56, image_size=32, test=0.2)


def trunk(width, name, side=32):
    x = image = keras.Input((side, side, 3))
    x = keras.layers.Conv2D(width, 3, strides=2, activation="relu", name=f"{name}_conv")(x)
    return kt.backbone(keras.Model(image, x, name=name), preprocess="tf")


@pytest.fixture(scope="module")
def ranking(data):
    keras.utils.set_random_seed(0)
    own = kt.build_model(kt.backbone("tiny"), kt.tasks.Classification(["left", "right", "up"]))
    named = {
        "tiny": "tiny",
        "random": kt.backbone("tiny", weights=None),
        "own": own,
        "wide": trunk(8, "wide"),
        "absent": "kerashub:no_such_preset",
    }
    return kt.rank_backbones(named, data, finalists=3, epochs=1, max_parameters=10**6, verbose=0)


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
