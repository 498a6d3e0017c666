import itertools

import numpy as np
import pytest

from keras_transfer.evaluation import curves
from keras_transfer.pages import plots

HISTORY = {
    "accuracy": [0.1, 0.2, 0.3, 0.4],
    "learning_rate": [1e-3, 1e-3, 1e-5, 1e-5],
    "loss": [4.0, 3.0, None, 1.0],
    "val_accuracy": [0.1, 0.2, 0.5, 0.4],
    "val_loss": [4.0, 3.5, 2.0, 2.5],
}
STAGES = [{"name": "head", "epochs": [0, 1]}, {"name": "$block$", "epochs": [2, 3]}]


def lines(axes):
    return {line.get_label(): line for line in axes.lines}


def test_curves_have_the_values_of_the_history_over_epochs_from_one():
    figures = curves.learning_curves(HISTORY, stages=STAGES, best_epoch=2)
    assert list(figures) == ["loss", "accuracy", "learning_rate"]
    drawn = lines(figures["accuracy"].axes[0])
    assert drawn["training"].get_xydata().tolist() == [[1, 0.1], [2, 0.2], [3, 0.3], [4, 0.4]]
    assert drawn["validation"].get_ydata().tolist() == HISTORY["val_accuracy"]
    assert drawn["best, epoch 3"].get_xdata() == [3, 3]
    marks = [
        line.get_xydata().tolist()
        for line in figures["accuracy"].axes[0].lines
        if line.get_markersize() == 9
    ]
    assert marks == [[[3, 0.5]]]
    assert np.isnan(lines(figures["loss"].axes[0])["training"].get_ydata()[2])


def test_a_second_run_marks_the_weights_in_the_model():
    drawn = lines(
        curves.learning_curves(HISTORY, best_epoch=1, is_repeated=True)["accuracy"].axes[0]
    )
    assert drawn["best, epoch 2"].get_xdata() == [2, 2]
    assert drawn["in the model, epoch 4"].get_xdata() == [4, 4]


def test_a_stage_without_epochs_has_no_band():
    stages = [{"name": "head, solved"}, {"name": "all", "epochs": [0, 3]}]
    axes = curves.learning_curves(HISTORY, stages=stages)["accuracy"].axes[0]
    assert [text.get_text() for text in axes.texts] == ["all"]
    assert len(axes.patches) == 1


def test_what_a_balancer_made_of_tasks_is_one_figure():
    history = {"loss": [2.0, 1.0, 0.5], "kind_factor": [1.5, 1.25], "age_factor": [0.5, 0.75]}
    figures = curves.learning_curves(history, epochs=[0, 1, 2], stages=STAGES)
    assert list(figures) == ["loss", "weight of each task"]
    drawn = lines(figures["weight of each task"].axes[0])
    assert drawn["kind"].get_xydata().tolist() == [[2, 1.5], [3, 1.25]]  # in the last stage only
    assert drawn["age"].get_ydata().tolist() == [0.5, 0.75]


def test_levels_are_lines_across_all_epochs():
    levels = {"accuracy": {"chance": 0.25, "head alone": 0.3}}
    figures = curves.learning_curves(HISTORY, levels=levels)
    drawn = lines(figures["accuracy"].axes[0])
    assert drawn["chance, 0.25"].get_ydata() == [0.25, 0.25]
    assert drawn["head alone, 0.3"].get_ydata() == [0.3, 0.3]
    assert not any("chance" in label for label in lines(figures["loss"].axes[0]))


def test_legends_lie_below_the_axes_with_letters_that_a_phone_can_show():
    for figure in curves.learning_curves(HISTORY, best_epoch=2).values():
        figure.draw_without_rendering()
        (legend,) = figure.legends
        assert legend.get_window_extent().y1 <= figure.axes[0].get_window_extent().y0
        points = legend.get_texts()[0].get_fontsize()
        shrunk = 330 / (figure.get_figwidth() * 96)  # pixels of a phone's box, of a desktop's
        assert points * 96 / 72 * shrunk >= 8.5


def test_stages_are_bands_over_their_epochs():
    axes = curves.learning_curves(HISTORY, stages=STAGES)["loss"].axes[0]
    bands = [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in axes.patches]
    assert bands == [(0.5, 2.5), (2.5, 4.5)]
    assert [text.get_text() for text in axes.texts] == ["head", "$block$"]


def test_curves_of_a_run_that_skipped_epochs_stand_where_they_were_run():
    figures = curves.learning_curves({"loss": [3.0, 2.0, 1.0], "late": [0.5]}, epochs=[0, 1, 5])
    assert lines(figures["loss"].axes[0])["training"].get_xdata().tolist() == [1, 2, 6]
    assert lines(figures["late"].axes[0])["training"].get_xdata().tolist() == [6]


@pytest.mark.parametrize(
    "history", [{}, {"val_loss": [1.0]}, {"loss": []}, {"loss": [1.0]}, {"learning_rate": [0.0]}]
)
def test_short_histories_can_be_drawn(history):
    for figure in curves.learning_curves(history, best_epoch=0).values():
        assert plots.svg(figure, name="x", label="x").startswith("<svg")


def drawn(figure):
    """The lines by block, as pairs of epoch and value."""
    return {line.get_label(): line.get_xydata().tolist() for line in figure.axes[0].lines}


BLOCKS = [*(f"block_{number}" for number in range(17)), "head"]
INSIGHT = [
    {
        "epoch": 0,
        "stage": 0,
        "distance": {**dict.fromkeys(BLOCKS, 0.0), "head": 0.5},
        "gradient": {"head": 2.0},
    },
    {
        "epoch": 1,
        "stage": 1,
        "distance": dict.fromkeys(BLOCKS, 0.25),
        "gradient": dict.fromkeys(BLOCKS, 4.0),
    },
    {
        "epoch": 2,
        "stage": 1,
        "distance": dict.fromkeys(BLOCKS, None),
        "gradient": dict.fromkeys(BLOCKS, 0.0),
    },
]


def test_blocks_have_a_line_each_with_gaps_where_there_is_no_number():
    figures = curves.block_curves(
        INSIGHT, stages=[{"name": "head", "epochs": [0, 0]}, {"name": "all", "epochs": [1, 2]}]
    )
    assert list(figures) == ["distance", "gradient"]
    distance, gradient = (drawn(figure) for figure in figures.values())
    assert (
        list(distance) == list(gradient) == BLOCKS
    )  # upwards, though the head had a gradient first
    np.testing.assert_array_equal(distance["head"], [[1, 0.5], [2, 0.25], [3, np.nan]])
    np.testing.assert_array_equal(distance["block_3"], [[1, np.nan], [2, 0.25], [3, np.nan]])
    np.testing.assert_array_equal(gradient["block_3"], [[1, np.nan], [2, 4.0], [3, np.nan]])
    assert [figure.axes[0].get_yscale() for figure in figures.values()] == ["log", "log"]
    edges = [patch.get_x() for patch in figures["gradient"].axes[0].patches]
    assert edges == [0.5, 1.5]
    assert [text.get_text() for text in figures["gradient"].axes[0].texts] == ["head", "all"]


def test_blocks_go_from_light_to_dark_and_heads_stand_out():
    lines = curves.block_curves(INSIGHT)["distance"].axes[0].lines
    shades = [line.get_alpha() for line in lines[:-1]]
    assert shades == sorted(set(shades))
    assert shades[0] >= 0.2
    assert shades[-1] == 1.0
    assert {line.get_color() for line in lines[:-1]} == {plots.COLOURS["first"]}
    assert lines[-1].get_color() == plots.COLOURS["second"]


def test_a_legend_names_some_of_many_blocks():
    for blocks in (BLOCKS, BLOCKS[:3]):
        entry = {"epoch": 0, "stage": 0, "distance": dict.fromkeys(blocks, 1.0)}
        figure = curves.block_curves([entry])["distance"]
        figure.draw_without_rendering()
        (legend,) = figure.legends
        texts = legend.get_texts()
        names = [text.get_text() for text in texts]
        assert len(names) == min(len(blocks), 8)
        assert (*names[:2], names[-1]) == (*blocks[:-3:-1], blocks[0])  # the uppermost on top
        assert sorted(names, key=blocks.index, reverse=True) == names
        boxes = [text.get_window_extent() for text in texts]
        assert not any(first.overlaps(other) for first, other in itertools.combinations(boxes, 2))
        assert legend.get_window_extent().y1 <= figure.axes[0].get_window_extent().y0


@pytest.mark.parametrize(
    "insight",
    [
        [],
        [{"epoch": 0, "stage": 0}],
        [{"epoch": 0, "stage": 0, "gradient": {}}],
        [{"epoch": 4, "stage": 0, "gradient": {"head": 0.0}}],
        [{"epoch": 0, "stage": 0, "distance": {"a": None}}],
        [
            {"epoch": 0, "stage": 0, "distance": {"a": 0.5}},
            {"epoch": 1, "stage": 0, "gradient": {"a": 0.5}},
        ],
    ],
)
def test_what_was_not_watched_is_missing(insight):
    figures = curves.block_curves(insight)
    assert list(figures) == [
        kind for kind in ("distance", "gradient") if any(entry.get(kind) for entry in insight)
    ]
    for figure in figures.values():
        assert plots.svg(figure, name="x", label="x").startswith("<svg")


def test_names_of_stages_that_run_into_each_other_become_numbers():
    wide = [{"name": "head", "epochs": [0, 0]}, {"name": "all", "epochs": [1, 20]}]
    narrow = [
        {"name": "head", "epochs": [0, 9]},
        *({"name": f"block_{n}", "epochs": [n, n]} for n in range(10, 20)),
    ]
    many = [{"name": f"block_{number}", "epochs": [number, number]} for number in range(40)]
    numbers = [str(number) for number in range(1, 41)]
    for stages, titles in ((wide, ["head", "all"]), (narrow, numbers[:11:2]), (many, numbers[::3])):
        epochs = range(1 + stages[-1]["epochs"][1])
        axes = curves.learning_curves({"loss": [1.0] * len(epochs)}, stages=stages)["loss"].axes[0]
        assert [text.get_text() for text in axes.texts] == titles
        axes.figure.draw_without_rendering()
        boxes = [text.get_window_extent() for text in axes.texts]
        assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))
