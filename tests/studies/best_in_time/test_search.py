"""`kt.auto`: rounds, time, resuming, what it returns."""

import json

import keras
import numpy as np
import pytest
from networks import small

import keras_transfer as kt
from keras_transfer.core import checks
from keras_transfer.studies.best_in_time import runs as running

RNG = np.random.default_rng(0)


def colours(examples):
    """Images of which one channel is stronger: a network learns which in a few steps."""
    labels = np.arange(examples) % 3
    images = RNG.integers(0, 120, (examples, 32, 32, 3))
    images[np.arange(examples), :, :, labels] += 100
    return images.astype("uint8"), labels


@pytest.fixture(scope="module")
def data():
    images, labels = colours(24)
    return kt.data.from_arrays(images, labels, validation=0.3, batch_size=8, seed=0)


def first(image_size):
    keras.utils.set_random_seed(1)
    return small()


def second(image_size):
    keras.utils.set_random_seed(2)
    return small()


def accuracy(model, data):
    return kt.evaluate(model, data.validation, verbose=0)["accuracy"]


def test_the_model_is_that_of_the_best_line_and_a_stopped_search_goes_on(
    data, tmp_path, monkeypatch
):
    runs = []
    real = running.training.fine_tune

    def counted(model, *arguments, **options):
        if len(runs) == 3:
            raise KeyboardInterrupt
        runs.append(options)
        return real(model, *arguments, **options)

    options = {
        "time_limit": 200, "preset": "high", "candidates": [first, second], "run_dir": tmp_path,
        "verbose": 0,
    }  # fmt: skip
    monkeypatch.setattr(running.training, "fine_tune", counted)
    with pytest.raises(KeyboardInterrupt):
        kt.auto(data, **options)
    assert len(json.loads((tmp_path / "comparison.json").read_text())["rows"]) == 3
    monkeypatch.setattr(running.training, "fine_tune", real)
    model, board = kt.auto(data, **options)

    rounds = [line["round"] for line in board["lines"]]
    assert rounds.count("head") == 2
    assert rounds.count("short") >= 3  # two networks, and two more ways of one
    assert rounds.count("full") == 1
    scores = [line["score"] for line in board["lines"]]
    assert scores == sorted(scores, reverse=True)
    assert board["about"]["seconds"] <= 1.1 * 200
    assert {line["network"] for line in board["lines"]} == {"first", "second"}
    if not board["about"]["refit"]:
        assert accuracy(model, data) == pytest.approx(board["best"]["score"])
    best = board["best"]
    assert best["interval"][0] <= best["score"] <= best["interval"][1]
    assert str(board).splitlines()[1].split()[0] == best["network"]
    for ending in ("html", "json", "csv"):
        board.save(tmp_path / f"board.{ending}")
    assert len((tmp_path / "board.csv").read_text().splitlines()) == len(scores) + 1
    again, other = kt.auto(data, **options)
    assert other["lines"] == board["lines"]
    for before, after in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_stopped_between_its_two_files_of_weights_a_run_has_no_line(data, tmp_path, monkeypatch):
    """The full run is trained again on all images: weights before and after that are written."""
    write = running.Runs._write

    def stopped(self, line, model, *, suffix=""):
        if suffix:
            raise KeyboardInterrupt
        write(self, line, model)

    options = {"time_limit": 60, "preset": "medium", "candidates": [first], "run_dir": tmp_path}
    monkeypatch.setattr(running.Runs, "_write", stopped)
    with pytest.raises(KeyboardInterrupt):
        kt.auto(data, **options, verbose=0)
    lines = json.loads((tmp_path / "comparison.json").read_text())["rows"]
    assert [line["round"] for line in lines] == ["head"]


def test_a_run_that_cannot_be_measured_does_not_end_the_search(data, monkeypatch):
    real, calls = running.evaluation.evaluate, []

    def diverged(*arguments, **options):
        calls.append(arguments)
        if len(calls) == 2:
            raise checks.InputError("Training diverged: lower the learning rate.")
        return real(*arguments, **options)

    monkeypatch.setattr(running.evaluation, "evaluate", diverged)
    _, board = kt.auto(data, time_limit=60, preset="medium", candidates=[first], verbose=0)
    assert [line["round"] for line in board["lines"]] == ["head"]
    assert board["skipped"] == [
        {"name": "first at 32: default (full)", "why": "Training diverged: lower the learning rate"}
    ]


@pytest.mark.parametrize("kind", ["number", "tags", "mask"])
def test_every_kind_of_target_has_a_best_model(kind, monkeypatch, capsys):
    images, labels = colours(24)
    targets = {
        "number": labels * 2.5,
        "tags": [[name for name in "abc" if name <= "abc"[label]] for label in labels],
        "mask": np.repeat(labels[:, None], 32 * 32, axis=1).reshape(-1, 32, 32).astype("uint8"),
    }[kind]
    data = kt.data.from_arrays(images, targets, validation=0.25, batch_size=6)
    if kind == "number":
        monkeypatch.setattr(running, "SCREENED", 20)  # 18 of them train
    real, losses = running.criteria.evaluate, []

    def evaluate(model, dataset):
        logs = real(model, dataset)
        losses.append(logs["val_loss"])
        return logs

    monkeypatch.setattr(running.criteria, "evaluate", evaluate)
    model, board = kt.auto(data, time_limit=9, preset="medium", candidates=[first], verbose=1)
    drawn = "20 of 24 images are drawn for all rounds but the last" in capsys.readouterr().out
    assert drawn == (kind == "number")
    if drawn:  # the full run saw others, too
        assert {line["round"]: line["loss"] for line in board["lines"]}["full"] == losses[-1]
    assert board["score"] == {"number": "mae", "tags": "map", "mask": "mean_iou"}[kind]
    assert np.isfinite(board["best"]["score"])
    assert len(kt.predict(model, images[:2], verbose=0)) == 2


def test_bad_arguments_are_told_before_anything_runs(data, monkeypatch):
    monkeypatch.setattr(running.training, "fine_tune", None)
    without = kt.data.from_arrays(*colours(12), validation=None)
    cases = [
        ({"candidates": ["tiny", "tiny"]}, "a candidate must come once. Given: 'tiny' twice"),
        ({"candidates": ["MobileNetV9"]}, "a candidate must be a known name"),
        ({"candidates": [lambda size: None]}, "a candidate must have a name"),
        ({"candidates": []}, "`candidates` must be a list of backbones"),
        ({"preset": "hi"}, "preset"),
        ({"time_limit": 0}, "`time_limit` must be a number above 0"),
    ]
    for options, message in cases:
        with pytest.raises(checks.InputError, match=message):
            kt.auto(data, **{"candidates": ["tiny"], **options})
    with pytest.raises(checks.InputError, match="`data` must have validation images"):
        kt.auto(without, candidates=["tiny"])
    with pytest.raises(checks.InputError, match="`data` must come from kt.data"):
        kt.auto(colours(12), candidates=["tiny"])


def test_a_limit_below_one_pass_is_one_line(data):
    with pytest.raises(checks.InputError, match="`time_limit` be enough for one pass with it"):
        kt.auto(data, time_limit=1e-4, candidates=[first], verbose=0)


def test_candidates_that_cannot_be_built_are_told_as_such(data):
    wide = kt.backbone("tiny", image_size=64, weights=None)
    with pytest.raises(
        checks.InputError, match="`candidates` must have one that can be built.*must take images"
    ):
        kt.auto(data, time_limit=60, candidates={"wide": wide}, verbose=0)


def test_a_full_run_is_not_begun_that_cannot_end_in_time(data, monkeypatch):
    """The head took 20 of 30 seconds, by a clock that a run of any kind moves on."""
    now = [0.0]
    real = running.training.fine_tune

    def slow(model, *arguments, **options):
        now[0] += 20
        return real(model, *arguments, **{**options, "time_limit": None, "plan": "head_only"})

    monkeypatch.setattr(running.training, "fine_tune", slow)
    monkeypatch.setattr(running.time, "monotonic", lambda: now[0])
    _, board = kt.auto(data, time_limit=30, preset="medium", candidates=[first], verbose=0)
    assert [line["round"] for line in board["lines"]] == ["head"]
    assert board["skipped"][0]["why"] == "no time was left for it"
