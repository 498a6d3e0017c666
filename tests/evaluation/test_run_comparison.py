import json
import re

import pytest

import keras_transfer as kt
from keras_transfer.core import checks


def write_run(folder, accuracy, **about):
    folder.mkdir(parents=True)
    facts = {"data": {"digest": "abc", "split": "test", "examples": 50}, **about}
    report = {
        "kind": "classification",
        "accuracy": accuracy,
        "intervals": {"accuracy": [accuracy - 0.1, accuracy + 0.1]},
        "support": 50,
        "about": {"history": {"val_accuracy": [0.25, accuracy]}, **facts},
    }
    (folder / "report.json").write_text(json.dumps(report))
    return folder


def write_record(folder, **facts):
    (folder / "run.json").write_text(json.dumps(facts))


@pytest.fixture
def runs(tmp_path):
    first, second = write_run(tmp_path / "<b>a", 0.5), write_run(tmp_path / "b", 0.75)
    command = {"folder": "photos", "seed": 0, "out": "a", "augment": None}
    write_record(first, command=command, seconds=10.0, energy={"watt_hours": 0.5, "from": "x"})
    write_record(second, command={**command, "out": "b", "augment": "light"}, seconds=20.0)
    return [first, second]


def test_scores_differences_and_cost_of_each_run(runs, tmp_path):
    comparison = kt.compare_runs(runs)
    assert comparison["scores"]["accuracy"] == {"<b>a": 0.5, "b": 0.75}
    assert comparison["intervals"]["accuracy"]["b"] == [0.65, 0.85]
    assert comparison["differences"] == {"augment": {"<b>a": None, "b": "light"}}
    assert comparison["cost"] == {
        "<b>a": {"seconds": 10.0, "watt hours": 0.5},
        "b": {"seconds": 20.0},
    }
    assert comparison["notes"] == []
    assert str(comparison).splitlines() == [
        "          <b>a   b",
        "accuracy  0.500  0.750",
        "augment   –      light",
    ]
    comparison.save(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text("utf-8")
    assert "<b>" not in page
    assert "0.750 (0.650 to 0.850)" in page
    assert page.count("<svg") == 1
    numbers = re.search(r'id="report">(.*?)</script>', page, re.DOTALL)[1]
    assert json.loads(numbers) == comparison.to_dict()


def test_runs_on_other_images_or_with_other_scores_are_told(tmp_path):
    other = {"digest": "other", "split": "test", "examples": 50}
    first = write_run(tmp_path / "a" / "run", 0.5)
    second = write_run(tmp_path / "b" / "run", 0.75, data=other)
    report = json.loads((second / "report.json").read_text())
    (second / "report.json").write_text(json.dumps({**report, "auc": 0.9}))
    comparison = kt.compare_runs([first, second])
    assert list(comparison["runs"]) == [str(first), str(second)]  # both are called "run"
    assert comparison["notes"] == [
        "The runs were not measured on the same images: their scores cannot be compared.",
        "Not every run has these scores: auc.",
    ]


def test_other_seeds_may_have_measured_other_images(tmp_path):
    data = {"digest": "abc", "split": "test", "examples": 50}
    folders = [
        write_run(tmp_path / str(seed), 0.5, data={**data, "seed": seed}) for seed in range(2)
    ]
    assert kt.compare_runs(folders)["notes"][0].startswith("The images were split with different")


def test_several_tasks_have_rows_of_their_own(tmp_path):
    folder = tmp_path / "a"
    folder.mkdir()
    tasks = {
        "age": {"kind": "regression", "mae": 2.0},
        "pet": {"kind": "classification", "f1": 0.5},
    }
    (folder / "report.json").write_text(json.dumps({**tasks, "about": {}}))
    comparison = kt.compare_runs([folder, write_run(tmp_path / "b", 0.5)])
    assert comparison["scores"] == {
        "age mae": {"a": 2.0},
        "pet f1": {"a": 0.5},
        "accuracy": {"b": 0.5},
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "must hold report.json"),
        ("no json", "report.json must be JSON"),
        ("[1]", "report.json must hold an object"),
    ],
)
def test_what_is_no_run_is_refused(tmp_path, content, message):
    (tmp_path / "b").mkdir()
    if content is not None:
        (tmp_path / "b" / "report.json").write_text(content)
    with pytest.raises(checks.InputError, match=message):
        kt.compare_runs([write_run(tmp_path / "a", 0.5), tmp_path / "b"])


def test_one_run_cannot_be_compared(runs):
    for folders in (runs[:1], [runs[0], runs[0]], str(runs[0])):
        with pytest.raises(checks.InputError, match="`folders` must"):
            kt.compare_runs(folders)
