"""Reports as a person sees them, in headless Chromium."""

import browser
import pytest
from reports import ABOUT, classification, regression, tags

import keras_transfer as kt
from keras_transfer.evaluation import answers

pytestmark = pytest.mark.browser


def named(count):
    return [f"class number {number}" for number in range(count)]


PAGES = {  # report, width of the window, dark
    "2 classes": (lambda: kt.evaluation.Report(classification(["cat", "dog"]), ABOUT), 390, True),
    "24 classes": (lambda: kt.evaluation.Report(classification(named(24), 400), ABOUT), 390, False),
    "100 classes": (lambda: kt.evaluation.Report(classification(named(100), 300), {}), 1280, True),
    "tags": (lambda: kt.evaluation.Report(tags(), ABOUT), 390, False),
    "a regression": (lambda: kt.evaluation.Report(regression(2), ABOUT), 1280, False),
    "three tasks": (
        lambda: kt.evaluation.Report(
            {"kind": classification(), "age": regression(), "marks": tags()}, ABOUT
        ),
        390,
        True,
    ),
}


@pytest.mark.parametrize("name", PAGES)
def test_pages_keep_nobody_out_and_fit_their_window(name, tmp_path):
    make, width, is_dark = PAGES[name]
    page = make().to_html()
    assert len(page) < 5e6
    measures = "[document.documentElement.scrollWidth, innerWidth, document.querySelector('#answer').offsetTop]"
    found = browser.find_barriers(page, tmp_path, measures=measures, width=width, is_dark=is_dark)
    (wide, window, answer), barriers = found
    assert barriers == []
    assert wide <= window
    assert answer < 400  # the answer comes first


def test_numbers_pictures_and_answer_are_in_the_page(tmp_path):
    report = kt.evaluation.Report(classification(["cat", "dog", "owl"]), ABOUT)
    script = """
      const span = document.getElementById("accuracy"), numbers = document.getElementById("report");
      const galleries = [...document.querySelectorAll(".gallery")];
      const pictures = galleries.map(each => each.querySelectorAll("img").length);
      tell([span.dataset.value, span.textContent, JSON.parse(numbers.textContent).accuracy, pictures,
        document.scripts.length, span.checkVisibility(), document.getElementById("answer").textContent])"""
    value, shown, embedded, pictures, scripts, is_visible, answer = browser.look(
        report.to_html(), script, tmp_path
    )
    assert float(value) == embedded == report["accuracy"]
    assert shown == f"{report['accuracy']:.3f}"
    assert answer == report["about"]["summary"]["answer"][0]
    assert scripts == 3  # ours: numbers, sorting; and this test's
    assert is_visible
    assert pictures == [len(report["mistakes"]), answers.UNSURE, answers.SAMPLE]


def test_a_click_on_a_heading_sorts_the_classes(tmp_path):
    report = kt.evaluation.Report(classification(named(12), 200), {})
    script = """
      const rows = () => [...document.querySelectorAll("table.bars tbody th")].map(each => each.textContent);
      const button = [...document.querySelectorAll("thead button")].find(each => each.textContent === "recall");
      button.click(); const down = rows(); button.click(); tell([down, rows()])"""
    down, up = browser.look(report.to_html(), script, tmp_path)
    recalls = {name: row["recall"] for name, row in report["classes"].items()}
    assert [recalls[name] for name in down] == sorted(recalls.values(), reverse=True)
    assert [recalls[name] for name in up] == sorted(recalls.values())
