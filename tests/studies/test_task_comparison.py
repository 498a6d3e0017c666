import json
import math
import re

import numpy as np
import pytest

import keras_transfer as kt

TASKS = {"kind": kt.tasks.Classification(2), "age": kt.tasks.Regression()}


def rows(joint, single, **more):
    """Rows of trainings: lists of scores by task."""
    for seed in range(len(next(iter(joint.values())))):
        scores = {name: values[seed] for name, values in joint.items()}
        yield {"arm": "joint", "seed": seed, "scores": scores, "seconds": 3.0, **more}
        for name, values in single.items():
            yield {"arm": name, "seed": seed, "scores": {name: values[seed]}, "seconds": 2.0}


def comparison(joint, single, **more):
    return kt.studies.TaskComparison(TASKS, list(rows(joint, single, **more)))


def test_by_hand():
    found = comparison(
        {"kind": [0.8, 0.9], "age": [2.0, 2.0]}, {"kind": [0.7, 0.7], "age": [2.0, 2.5]}
    )
    kind, age = found["tasks"]["kind"], found["tasks"]["age"]
    assert kind["gain"] == pytest.approx(0.15)
    # Gains 0.1 and 0.2: mean 0.15, standard deviation 0.0707, and Student's 12.706 for one degree of freedom.
    half = 12.7062 * 0.0707107 / math.sqrt(2)
    assert kind["interval"] == pytest.approx([0.15 - half, 0.15 + half], abs=1e-4)
    assert age["gain"] == pytest.approx(0.25)  # an error of 0.5 less, in one of two
    # 14.29 % and 28.57 % of an accuracy, 0 % and 20 % of an error.
    assert found["delta"]["percent"] == pytest.approx(np.mean([14.2857, 28.5714, 0, 20]), abs=1e-3)
    assert found["seconds"] == {"joint": 3.0, "apart": 4.0}
    assert "together is 15.7 % better on average" in str(found)


@pytest.mark.parametrize(
    ("joint", "verdict"),
    [
        ([0.80, 0.81, 0.83], "positive"),
        ([0.60, 0.61, 0.63], "negative"),
        ([0.60, 0.71, 0.82], "neutral"),
    ],
)
def test_verdicts(joint, verdict):
    age = [2.0, 2.0, 2.0]
    found = comparison({"kind": joint, "age": age}, {"kind": [0.70, 0.71, 0.72], "age": age})
    assert found["tasks"]["kind"]["verdict"] == verdict
    assert found["tasks"]["age"]["verdict"] == "neutral"


def test_a_smaller_error_is_better():
    kind = [0.7, 0.7, 0.71]
    found = comparison(
        {"kind": kind, "age": [1.0, 1.1, 1.2]}, {"kind": kind, "age": [2.0, 2.1, 2.3]}
    )
    assert found["tasks"]["age"]["verdict"] == "positive"


def test_one_seed_has_no_verdict():
    found = comparison({"kind": [0.8], "age": [2.0]}, {"kind": [0.7], "age": [2.0]})
    assert found["tasks"]["kind"]["interval"] is None
    assert found["tasks"]["kind"]["verdict"] == "one seed tells nothing"
    assert "–" in str(found)


def test_seeds_that_change_nothing_give_no_certainty():
    found = comparison(
        {"kind": [0.8, 0.8], "age": [2.0, 2.0]}, {"kind": [0.7, 0.7], "age": [2.0, 2.0]}
    )
    assert (
        found["tasks"]["kind"]["verdict"] == found["delta"]["verdict"] == "equal seeds tell nothing"
    )
    assert found["tasks"]["kind"]["interval"] is None
    assert found["tasks"]["age"]["verdict"] == "neutral"


def test_what_is_worse_off_trains_alone():
    bad, good = (
        {"kind": [0.6, 0.6, 0.62], "age": [2, 2, 2]},
        {"kind": [0.7, 0.7, 0.71], "age": [2, 2, 2]},
    )
    alike = [[1.0, 0.5], [0.5, 1.0]]
    assert comparison(bad, good, similarity=alike)["groups"] == [["age"], ["kind"]]
    assert "% worse on average" in str(comparison(bad, good))
    assert comparison(good, good, similarity=alike)["groups"] == [["kind", "age"]]
    assert "one trunk for kind, age" in str(comparison(good, good, similarity=alike))


def test_similarities_are_means_of_what_is_known():
    same = {"kind": [0.7, 0.7], "age": [2, 2]}
    found = list(rows(same, same))
    found[0]["similarity"], found[3]["similarity"] = (
        [[1.0, None], [None, 1.0]],
        [[1.0, 0.5], [0.5, 1.0]],
    )
    assert kt.studies.TaskComparison(TASKS, found)["similarity"]["kind"] == {
        "kind": 1.0,
        "age": 0.5,
    }


def test_saved(tmp_path):
    same = {"kind": [0.7, 0.8], "age": [2.0, 2.1]}
    found = comparison(same, same, similarity=[[1.0, None], [None, 1.0]])
    found.save(tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text()) == found.to_dict()
    found.save(tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text()
    assert page.count("<svg") == 2
    assert "http" not in re.sub(r"http(://www\.w3\.org|-equiv)", "", page)
    with pytest.raises(ValueError, match=r"must end in .html or .json"):
        found.save(tmp_path / "a.pdf")


def test_names_of_tasks_are_escaped():
    task = {"<b>": kt.tasks.Classification(2), "$x$": kt.tasks.Classification(2)}
    scores = {"<b>": 0.5, "$x$": 0.5}
    found = [
        {
            "arm": "joint",
            "seed": 0,
            "scores": scores,
            "seconds": 1.0,
            "similarity": [[1.0, 0.1], [0.1, 1.0]],
        }
    ]
    found += [{"arm": name, "seed": 0, "scores": {name: 0.5}, "seconds": 1.0} for name in task]
    page = kt.studies.TaskComparison(task, found).to_html()
    assert "<b>" not in page.replace("&lt;b&gt;", "")
