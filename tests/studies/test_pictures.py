import pytest

from keras_transfer.pages import plots
from keras_transfer.studies import pictures
from keras_transfer.studies.scores import Score


def task(percent, interval, verdict):
    return {"percent": percent, "percent_interval": interval, "verdict": verdict}


def test_each_task_has_its_mean_and_its_interval_in_the_colour_of_its_verdict():
    figure = pictures.gains(
        {
            "kind": task(5.0, [2.0, 8.0], "positive"),
            "age": task(-3.0, [-4.0, -2.0], "negative"),
            "pose": task(0.5, None, "one seed tells nothing"),
        }
    )
    axes = figure.axes[0]
    drawn = [
        (line.get_xydata().tolist(), line.get_color()) for line in axes.lines[:-1]
    ]  # the last one marks 0
    good, bad, unknown = (plots.COLOURS[name] for name in ("first", "wrong", "muted"))
    assert drawn == [
        ([[2, 0], [8, 0]], good),
        ([[5, 0]], good),
        ([[-4, 1], [-2, 1]], bad),
        ([[-3, 1]], bad),
        ([[0.5, 2]], unknown),
    ]
    assert axes.get_ylim() == (2.5, -0.5)  # the first task on top


def test_a_matrix_has_its_numbers_and_says_where_there_is_none():
    axes = pictures.similarity(
        [[1.0, -0.25], [None, -0.001]], ["kind", "a name of more than sixteen letters"]
    ).axes[0]
    assert [text.get_text() for text in axes.texts] == ["1.00", "-0.25", "–", "0.00"]
    pixels = axes.images[0].get_array()
    assert pixels[0, 1, 3] == pytest.approx(0.5)
    assert pixels[1, 0, 3] == 0
    assert axes.get_xticklabels()[1].get_text() == "a name of more …"


def test_a_curve_has_a_band_only_where_there_are_intervals():
    def point(images, mean, interval):
        return {"images": images, "mean": mean, "interval": interval, "seeds": [mean]}

    known = [point(10, 0.5, [0.25, 0.75]), point(20, 0.5, [0.375, 0.625])]
    points = {"a": [*known, point(40, 0.5, None)]}
    axes = pictures.curves(points, Score("accuracy", "accuracy", True, True)).axes[0]
    (band,) = axes.collections
    (corners,) = [path.vertices.tolist() for path in band.get_paths()]
    assert {tuple(corner) for corner in corners} == {(10, 25), (10, 75), (20, 37.5), (20, 62.5)}
