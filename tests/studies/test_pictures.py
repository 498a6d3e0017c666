import pytest

from keras_transfer.pages import plots
from keras_transfer.studies import pictures


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
