import csv
import io
import math

import pytest

from keras_transfer.studies.ranking import Ranking, agreement
from keras_transfer.studies.scores import Score

ACCURACY = Score("accuracy", "accuracy", True, True)
ERROR = Score("mae", "mean error", False, False)


def row(name, probe, parameters, rounds=(), *, knn=None, random=False, reason="", latency=10.0):
    scores = {} if reason else {"probe": probe, "knn": probe if knn is None else knn}
    return {
        "name": name,
        "reason": reason,
        "scores": scores,
        "rounds": list(rounds),
        "parameters": parameters,
        "latency_ms": latency,
        "memory": 4 * parameters,
        "is_random": random,
    }


def make(rows):
    return Ranking(rows, ACCURACY, ["probe", "knn"])


def test_places_are_mean_ranks_and_sizes():
    """Mean ranks of probe and knn: a 1.5, b 1.5 (named after a), c 3."""
    ranking = make([row("c", 0.1, 30), row("a", 0.9, 10, knn=0.5), row("b", 0.8, 20, knn=0.6)])
    places = {each["name"]: each for each in ranking["rows"]}
    assert [places[name]["place_by_scores"] for name in "abc"] == [1, 2, 3]
    assert [places[name]["place_by_size"] for name in "abc"] == [3, 2, 1]
    assert ranking["best"] == "a"


def test_who_was_in_more_rounds_comes_first():
    rows = [
        row("a", 0.9, 40, [0.5]),
        row("b", 0.8, 30, [0.6, 0.7]),
        row("c", 0.7, 20, [0.6, 0.8]),
        row("d", 0.6, 10),
    ]
    assert [each["name"] for each in make(rows)["rows"]] == ["c", "b", "a", "d"]


@pytest.mark.parametrize(("half", "expected"), [(0.3, "abcd"), (0.06, "bcad"), (0.01, "cbad")])
def test_chance_does_not_overrule_the_order_before_a_round(half, expected):
    """Of scores a, b, c, d; by the first round b, c and a; by the second one c before b."""
    trained = {"a": [0.5], "b": [0.6, 0.7], "c": [0.55, 0.75], "d": []}
    if expected == "abcd":
        trained = {"a": [0.5, 0.6], "b": [0.6, 0.7], "c": [0.55], "d": []}
    rows = []
    for place, (name, rounds) in enumerate(trained.items()):
        intervals = [[value - half, value + half] for value in rounds]
        rows.append({**row(name, 0.9 - place / 10, 1, rounds), "intervals": intervals})
    assert "".join(each["name"] for each in make(rows)["rows"]) == expected


def test_finalists_are_the_best_by_scores_and_the_largest_that_was_trained():
    rows = [
        row("a", 0.9, 10),
        row("b", 0.8, 20),
        row("c", 0.7, 30),
        row("large", 0.2, 40),
        row("random", 0.1, 99, random=True),
    ]
    ranking = make(rows)
    assert ranking.finalists(3) == ["a", "b", "large"]
    assert ranking.finalists(1) == ["a"]
    assert ranking.finalists(0) == []


@pytest.mark.parametrize(
    ("sizes", "says"),
    [((30, 20, 10), "do not beat the order by size"), ((10, 20, 30), "agree better with training")],
)
def test_it_says_where_size_is_as_good(sizes, says):
    rows = []
    for name, size, value in zip("abc", sizes, (0.9, 0.8, 0.7), strict=True):
        rows.append(row(name, value, size, [value]))
    ranking = make(rows)
    assert any(says in line for line in ranking["conclusions"])
    assert ranking["agreement"]["scores"] == 1.0
    assert ranking["agreement"]["size"] == (1.0 if sizes[0] == 30 else -1.0)


def test_without_training_it_does_not_claim_to_know():
    assert any("which one is right is not known" in line for line in make(
        [row("a", 0.9, 1), row("b", 0.8, 2)])["conclusions"])  # fmt: skip
    assert any("the scores add nothing" in line for line in make(
        [row("a", 0.9, 2), row("b", 0.8, 1)])["conclusions"])  # fmt: skip


def test_a_quick_network_that_is_hardly_worse_is_told():
    rows = [row("large", 0.9, 9, [0.8, 0.90]), row("quick", 0.8, 2, [0.7, 0.89], latency=3.0)]
    line = make(rows)["conclusions"][-1]
    assert line.startswith("quick takes 0.30 of its time an image and was 1.0 points behind")


def test_a_quick_network_that_was_better_by_chance_is_told():
    rows = [row("large", 0.9, 9, [0.8]), row("quick", 0.8, 2, [0.82], latency=3.0)]
    for each in rows:
        each["intervals"] = [[0.5, 0.9]]
    ranking = make(rows)
    assert ranking["best"] == "large"
    assert ranking["conclusions"][-1].endswith(
        "was 2.0 points ahead when both were last trained alike"
    )


def test_it_says_where_chance_alone_may_have_decided():
    """Newcombe's interval of 38 - 37 of 46 is that of Wilson's bounds: sqrt((p - l)^2 + (u - q)^2) on each side."""
    p, q = 38 / 46, 37 / 46
    wilson = {p: [0.6928, 0.9091], q: [0.6683, 0.8917]}
    rows = [row("a", 0.9, 9, [0.5, p]), row("b", 0.8, 2, [0.6, q])]
    for each in rows:
        each["intervals"] = [[0.0, 1.0], wilson[each["rounds"][1]]]
    ranking = Ranking(rows, ACCURACY, ["probe"], images=46)
    chance = math.hypot(p - 0.6928, 0.8917 - q)
    said = (
        "a and b cannot be told apart on 46 validation images: their accuracy is 82.6 % and 80.4 %, "
        f"and chance alone makes differences of up to {100 * chance:.1f} points; "
        "so they keep the order that they had before"
    )
    assert ranking["conclusions"][:2] == [
        "a is the first by 2 rounds of short trainings, from one seed",
        said,
    ]
    for text in (str(ranking), ranking.to_html(), ranking.to_json()):
        assert said in text


@pytest.mark.parametrize(
    ("score", "values", "bounds", "is_said"),
    [
        (ACCURACY, (0.9, 0.5), ([0.8, 0.95], [0.4, 0.6]), False),
        (ACCURACY, (0.9, 0.8), ([0.8, 0.95], [0.77, 0.86]), True),  # sqrt(0.1^2 + 0.06^2)
        (ERROR, (2.0, 5.0), ([1.0, 4.5], [4.0, 9.0]), False),  # sqrt(2.5^2 + 1^2) = 2.7
        (ERROR, (2.0, 5.0), ([0.0, 5.0], [4.0, 5.5]), True),  # sqrt(3^2 + 1^2) = 3.2
        (ACCURACY, (0.9, 0.8), (None, None), False),
        (ACCURACY, (0.9, 0.9), (None, None), True),
    ],
)
def test_chance_is_that_of_both_scores_on_the_sides_that_face_each_other(
    score, values, bounds, is_said
):
    rows = []
    for name, value, bound in zip("ab", values, bounds, strict=True):
        rows.append({**row(name, 0.5, 1, [value]), "intervals": [bound]})
    conclusions = Ranking(rows, score, ["probe"], images=9)["conclusions"]
    assert any("cannot be told apart" in line for line in conclusions) == is_said


def test_columns_and_ranks_are_of_scores_that_candidates_have():
    rows = [row("a", 0.9, 1), row("b", 0.8, 5)]
    rows[0]["scores"] = {**rows[0]["scores"], "leep": -0.5}
    ranking = Ranking(rows, ACCURACY, ["probe", "knn", "leep", "nce"])
    assert ranking["about"]["scores"] == ["probe", "knn", "leep"]
    assert ranking["best"] == "a"


def test_what_is_left_out_has_no_place_and_is_told():
    rows = [row("a", 0.9, 1), row("b", 0.0, 5, reason="no weights")]
    ranking = make(rows)
    assert ranking["rows"][-1]["place"] is None
    assert "left out: b: no weights" in str(ranking)
    assert make(rows[1:])["best"] is None
    assert make(rows[1:])["conclusions"] == ["no candidate can be used"]
    assert "no weights" in ranking.to_html()


def test_csv_and_page_have_all_candidates():
    rows = [row("<a>", 0.9, 1, [0.5]), row("b", 0.8, 5), row("c", 0.0, 5, reason="large")]
    ranking = make(rows)
    lines = list(csv.DictReader(io.StringIO(ranking.to_csv())))
    assert [line["name"] for line in lines] == ["<a>", "b", "c"]
    assert (lines[0]["rounds"], lines[2]["reason"]) == ("0.5", "large")
    page = ranking.to_html()
    assert "<a>" not in page
    assert page.count("<svg") == 1


def test_agreement_of_equal_values_is_nothing():
    assert agreement([1, 1, 1], [1, 2, 3]) == 0.0
