import numpy as np
import pytest

from keras_transfer.studies.comparison import Comparison
from keras_transfer.studies.scores import Score

ACCURACY = Score("accuracy", "accuracy", True, True)
MAE = Score("mae", "mean absolute error", False, False)


def rows(values, *, task="kind", of=None, images=100, seconds=None, chance=()):
    made = []
    for arm, by_seed in values.items():
        for seed, value in enumerate(by_seed):
            made.append(
                {
                    "arm": arm,
                    "seed": seed,
                    "of": of,
                    "images": images if of is None else of,
                    "scores": {task: value},
                    "chance": {task: arm in chance},
                    "seconds": (seconds or {}).get(arm, 10.0),
                    "parameters": 1000,
                }
            )
    return made


VALUES = {
    "probe": [0.80, 0.80, 0.80],
    "two_stage": [0.85, 0.86, 0.84],
    "scratch": [0.30, 0.33, 0.27],
    "lora": [0.80, 0.82, 0.79],
}


def make(**options):
    made = rows(VALUES, seconds={"two_stage": 41.0}, chance=("scratch",))
    return Comparison({"kind": ACCURACY}, made, list(VALUES), **options)


def test_numbers_are_students():
    """Gains 5, 6, 4 points: mean 5, deviation 1, so 4.303 / sqrt(3) = 2.484 to both sides; t = 8.66, p = 0.0131."""
    cell = make()["arms"]["two_stage"]["scores"]["kind"]
    assert cell["mean"] == pytest.approx(0.85)
    assert cell["gain"] == pytest.approx(0.05)
    assert cell["gain_interval"] == pytest.approx([0.02516, 0.07484], abs=1e-5)
    assert cell["interval"] == pytest.approx([0.82516, 0.87484], abs=1e-5)
    assert cell["p"] == pytest.approx(0.01307, abs=1e-5)
    assert cell["verdict"] == "positive"


def test_sentences_answer_the_question():
    lines = make()["conclusions"]
    assert lines[0] == "two_stage gained 5.0 points [2.5, 7.5] over probe for 31 s more"
    assert lines[1].startswith(
        "lora is 0.3 points [-3.5, 4.1] better than probe, which may be chance"
    )
    assert lines[2] == "scratch lost 50.0 points [42.5, 57.5] to probe for 0 s more"
    assert lines[3] == "scratch is at chance: no better than one answer for all images"


def test_intervals_of_the_reports_are_averaged():
    made = rows({"a": [0.5, 0.7], "b": [0.6, 0.6]})
    for row in made[:2]:
        row["intervals"] = {"kind": [row["scores"]["kind"] - 0.1, row["scores"]["kind"] + 0.2]}
    found = Comparison({"kind": ACCURACY}, made, ["a", "b"])["arms"]
    assert found["a"]["scores"]["kind"]["images_interval"] == pytest.approx([0.5, 0.8])
    assert found["b"]["scores"]["kind"]["images_interval"] is None


def test_less_error_is_a_gain():
    values = {"a": [2.0, 2.1], "b": [1.5, 1.61]}
    found = Comparison({"age": MAE}, rows(values, task="age"), ["a", "b"])
    cell = found["arms"]["b"]["scores"]["age"]
    assert cell["gain"] == pytest.approx(0.495)
    assert cell["verdict"] == "positive"
    assert "b gained 0.495 mean absolute error" in str(found)
    assert str(found).splitlines()[1].startswith("b")  # the best arm first


def test_one_seed_has_no_interval():
    values = {"a": [0.5], "b": [0.6]}
    found = Comparison({"kind": ACCURACY}, rows(values), ["a", "b"], level=None)
    cell = found["arms"]["b"]["scores"]["kind"]
    assert (cell["interval"], cell["gain_interval"], cell["p"]) == (None, None, None)
    assert found["conclusions"] == ["b is 10.0 points better than a, of one seed, for 0 s more"]
    assert "2 arms · 1 seed · " in found.to_html()


def test_seeds_that_all_gain_the_same_are_no_proof():
    """One more of 20 test images is right at each of three seeds, whatever else the seeds change."""
    values = {"a": [0.80, 0.85, 0.70], "b": [0.85, 0.90, 0.75]}
    found = Comparison({"kind": ACCURACY}, [*rows(values, of=50), *rows(values)], list(values))
    cell = found["arms"]["b"]["scores"]["kind"]
    assert (cell["gain_interval"], cell["p"]) == (None, None)
    assert (
        found["conclusions"][0]
        == "b is 5.0 points better than a, the same at every seed, for 0 s more"
    )


def test_intervals_hold_nothing_that_cannot_be():
    """Gains -0.5 and -0.2: mean -0.35, and 12.706 * 0.2121 / sqrt(2) = 1.906 to both sides."""
    values = {"a": [0.9, 0.9], "b": [0.4, 0.7]}
    made = [*rows({name: [0.1, 0.1] for name in values}, of=50), *rows(values)]
    found = Comparison({"kind": ACCURACY}, made, list(values))
    cell = found["arms"]["b"]["scores"]["kind"]
    assert (cell["interval"], cell["gain_interval"]) == ([0.0, 1.0], [-1.0, 1.0])
    assert found["conclusions"][0].startswith("b is 35.0 points [-100.0, 100.0] worse than a")
    assert found["conclusions"][2].endswith("+45.0 points [-100.0, 100.0]")


def test_without_a_level_several_seeds_are_not_called_one():
    values = {"a": [0.5, 0.6], "b": [0.6, 0.8]}
    made = [*rows({name: [0.4, 0.4] for name in values}, of=50), *rows(values)]
    found = Comparison({"kind": ACCURACY}, made, list(values), level=None)["conclusions"]
    assert found[0] == "b is 15.0 points better than a on average, for 0 s more"
    assert found[1].startswith("a: without an interval it is not said whether more photos")


@pytest.mark.parametrize(
    ("last", "says"),
    [
        ([0.80, 0.81, 0.82], "more photos would help"),
        ([0.71, 0.72, 0.73], "cannot be told"),
        ([0.70, 0.72, 0.74], "changed nothing"),
        ([0.60, 0.61, 0.64], "did not help"),
        ([0.75, 0.77, 0.79], "seeds that all gain the same do not say"),
    ],
)
def test_a_curve_says_whether_more_photos_help(last, says):
    few = rows({"a": [0.70, 0.72, 0.74]}, of=50)
    found = Comparison({"kind": ACCURACY}, [*few, *rows({"a": last})], ["a"])
    assert says in found["conclusions"][-1]
    assert "from 50 to 100 images" in found["conclusions"][-1]


def test_a_curve_pairs_seeds_whose_splits_have_other_numbers_of_images():
    few = [{**row, "images": 50 + row["seed"]} for row in rows({"a": [0.70, 0.60, 0.50]}, of=50)]
    whole = [{**row, "images": 100 + row["seed"]} for row in rows({"a": [0.80, 0.71, 0.59]})]
    found = Comparison({"kind": ACCURACY}, [*few, *whole], ["a"])
    points = found["curves"]["kind"]["a"]
    assert [point["images"] for point in points] == [51, 101]
    assert [point["seeds"] for point in points] == [[0.70, 0.60, 0.50], [0.80, 0.71, 0.59]]
    line = found["conclusions"][-1]
    assert line.startswith("a: more photos would help: from 51 to 101 images +10.0 points")


def test_the_page_holds_everything_and_escapes_names():
    values = {"<b>": [0.5, 0.6], "b": [0.7, 0.8]}
    made = [*rows(values, of=50), *rows(values)]
    page = Comparison({"kind": ACCURACY}, made, list(values)).to_html()
    assert "<b>" not in page
    assert "&lt;b&gt;" in page
    assert page.count("<svg") == 2
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_several_tasks_have_a_table_each():
    made = rows({"a": [0.5, 0.6], "b": [0.7, 0.8]})
    for row in made:
        row["scores"]["age"] = 1.0 + row["seed"] / 10
        row["chance"]["age"] = False
    found = Comparison({"kind": ACCURACY, "age": MAE}, made, ["a", "b"])
    assert any(line.startswith("age: ") for line in found["conclusions"])
    assert "age, mean absolute error" in str(found)
    assert np.isfinite(found["arms"]["b"]["scores"]["age"]["gain"])
