import itertools
import re
import xml.etree.ElementTree as ET

import matplotlib
import numpy as np
import pytest
from matplotlib import colors

from keras_transfer.pages import plots, styling


def test_confusion_cells_show_counts_and_shares():
    figure = plots.confusion([[3, 1], [0, 0]], ["cat", "dog"])
    axes = figure.axes[0]
    assert [(text.get_position(), text.get_text()) for text in axes.texts] == [
        ((0, 0), "3"),
        ((1, 0), "1"),
    ]
    pixels = axes.images[0].get_array()
    assert pixels[0, 0].tolist() == pytest.approx(
        [*colors.to_rgb(plots.COLOURS["first"]), 0.16 + 0.84 * 0.75]
    )
    assert pixels[0, 1].tolist() == pytest.approx(
        [*colors.to_rgb(plots.COLOURS["wrong"]), 0.16 + 0.84 * 0.25]
    )
    assert pixels[1, :, 3].tolist() == [0, 0]  # no example of this class


@pytest.mark.parametrize("size", [2, 10, 24, 100, 300])
def test_confusion_labels_can_be_read(size):
    figure = plots.confusion(np.eye(size, dtype=int), [f"class number {i}" for i in range(size)])
    figure.draw_without_rendering()
    labels = figure.axes[0].get_yticklabels()
    assert min(size, 50) <= len(labels) <= 100
    assert all(label.get_fontsize() >= 5 for label in labels)
    boxes = sorted((label.get_window_extent() for label in labels), key=lambda box: box.y0)
    assert all(below.y1 <= above.y0 + 1 for below, above in itertools.pairwise(boxes))
    assert (len(figure.axes[0].texts) > 0) == (size <= 40)


@pytest.mark.parametrize(("size", "count"), [(2, 12345), (20, 14), (40, 999)])
def test_counts_fit_their_cells(size, count):
    figure = plots.confusion(np.full((size, size), count), [str(i) for i in range(size)])
    figure.draw_without_rendering()
    cell = figure.axes[0].get_window_extent().width / size
    assert all(text.get_window_extent().width < cell for text in figure.axes[0].texts[: size + 1])


def test_scatter_has_a_limited_number_of_points():
    values = np.arange(5000.0)
    points = plots.scatter(values, values + 1).axes[0].lines[1].get_xydata()
    assert len(points) == plots.POINTS
    assert np.all(points[:, 1] == points[:, 0] + 1)


def test_residuals_are_predicted_minus_true():
    axes = plots.residuals(np.zeros(4), np.array([1.0, 1.0, 1.0, 5.0])).axes[0]
    bars = [(patch.get_x(), patch.get_height()) for patch in axes.patches if patch.get_height()]
    assert [height for _, height in bars] == [3, 1]
    assert bars[0][0] == pytest.approx(1)


def test_svg_is_well_formed_and_keeps_texts_as_they_are():
    names = ["<b>", "$x_1$", "a & b", '"quoted"', "猫"]
    text = plots.svg(plots.confusion(np.eye(5, dtype=int), names), name="x", label='<i> "&"')
    root = ET.fromstring(text)
    shown = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert set(names) <= set(shown)
    assert root.get("aria-label") == '<i> "&"'


def test_svg_takes_its_colours_from_the_page():
    text = plots.svg(plots.scatter(np.arange(3), np.arange(3)), name="x", label="x")
    bare = re.sub(r"var\(--\w+, #\w{6}\)", "", text)
    assert set(re.findall(r"#[0-9a-f]{6}\b", bare)) <= {"#ffffff"}
    assert "var(--first, #2563d9)" in text
    for name, colour in plots.COLOURS.items():
        assert (
            f"--{name}: {colour};" in styling.STYLE
        )  # the light page and the figure alone look alike
        assert len(re.findall(rf"--{name}: ", styling.STYLE)) == 2  # light and dark


def test_ids_of_two_figures_differ():
    figures = [
        plots.svg(plots.residuals(np.zeros(2), np.ones(2)), name=name, label="x")
        for name in ("a", "b")
    ]
    first, second = (set(re.findall(r'id="(.*?)"', text)) for text in figures)
    assert first
    assert second
    assert not first & second
    assert all(
        set(re.findall(r'(?:url\(|href=")#(\w+)', text)) <= ids
        for text, ids in zip(figures, (first, second), strict=True)
    )


def test_settings_of_the_user_are_left_alone_and_do_not_matter():
    def draw():
        return plots.svg(plots.scatter(np.arange(3), np.arange(3)), name="x", label="x")

    usual = draw()
    with matplotlib.rc_context(
        {"text.color": "red", "font.size": 30, "svg.fonttype": "path", "axes.grid": True}
    ):
        before = dict(matplotlib.rcParams)
        assert draw() == usual
        assert dict(matplotlib.rcParams) == before
