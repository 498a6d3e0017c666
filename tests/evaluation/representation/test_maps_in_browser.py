"""The map of images in Chromium: what the mouse, the keys and the legend do."""

import browser
import numpy as np
import pytest

from keras_transfer.pages import document, scatter

pytestmark = pytest.mark.slow

TRY = """
const root = document.querySelector(".cloud"), said = root.querySelector(".cloud-said span");
const map = root.querySelector(".cloud-maps canvas"), heard = [], box = map.getBoundingClientRect();
const small = root.querySelector(".cloud-said canvas").getContext("2d");
const go = (x, y) => map.dispatchEvent(new PointerEvent("pointermove", {
  clientX: box.left + 8 + x * (box.width - 16), clientY: box.top + 8 + y * (box.height - 16)}));
const press = key => map.dispatchEvent(new KeyboardEvent("keydown", {key}));
setTimeout(() => {
  go(0, 0); heard.push(said.textContent);
  const colour = [...small.getImageData(32, 32, 1, 1).data].slice(0, 3);
  go(1, 1); heard.push(said.textContent);
  go(.5, .2); heard.push(said.textContent);
  press("ArrowLeft"); heard.push(said.textContent);
  const button = root.querySelector(".cloud-legend button");
  button.click();
  go(1, 0); heard.push(said.textContent);
  tell({heard, colour, pressed: button.getAttribute("aria-pressed"),
    wide: document.documentElement.scrollWidth - innerWidth});
}, 200);
"""


def page():
    positions = np.array([[0.0, 0.0], [1.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    pictures = [np.full((8, 8, 3), 60 * number, "uint8") for number in range(4)]
    part = scatter.part(
        {"before": positions, "after": positions[::-1]},
        captions=["cat: 0.jpg", "cat: 1.jpg", "<dog>: 2.jpg", "<dog>: 3.jpg"],
        groups=[0, 0, 1, 1],
        group_names=["cat", "<dog>"],
        thumbnails=pictures[1:] + pictures[:1],
        label="Map of images",
    )
    return document.render("Map", {"Map": document.box("Map", part)}, subtitle="", values={})


@pytest.mark.parametrize(("width", "is_dark"), [(1280, False), (390, True)])
def test_the_image_under_the_mouse_is_told(tmp_path, width, is_dark):
    found = browser.look(page(), TRY, tmp_path, width=width, is_dark=is_dark)
    nothing_near = "cat: 1.jpg"
    assert found["heard"][:2] == ["cat: 0.jpg", "cat: 1.jpg"]
    assert found["heard"][2] == nothing_near
    assert found["heard"][3] == "<dog>: 3.jpg"  # to the left of it
    assert found["heard"][4] == "<dog>: 3.jpg"  # the legend shows cats only
    assert found["pressed"] == "true"
    assert found["colour"] == pytest.approx([60, 60, 60], abs=4)
    assert found["wide"] <= 0


def test_nothing_keeps_people_out(tmp_path):
    assert browser.find_barriers(page(), tmp_path) == []
    assert browser.find_barriers(page(), tmp_path, is_dark=True) == []
