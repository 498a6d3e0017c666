import collections
import html.parser
import itertools
import json
import math
import pathlib
import re

import numpy as np
import pytest
from reports import ABOUT, EVIL, NAMES, RECORD, classification, regression

import keras_transfer as kt
from keras_transfer.core import checks
from keras_transfer.evaluation import answers

REPORTS = {
    "classification": lambda: kt.evaluation.Report(classification(), ABOUT),
    "regression": lambda: kt.evaluation.Report(regression(2), ABOUT),
    "several": lambda: kt.evaluation.Report({EVIL: classification(), "age": regression()}, ABOUT),
    "bare": lambda: kt.evaluation.Report(classification(["a", "b"]), {}),
}


@pytest.fixture(params=REPORTS)
def report(request):
    return REPORTS[request.param]()


class Page(html.parser.HTMLParser):
    """What a browser would see: the tags with their attributes, and the text inside each kind of tag."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self.open = [], collections.defaultdict(list), []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag):
        while self.open.pop() != tag:
            pass

    def handle_data(self, data):
        self.texts[self.open[-1] if self.open else None].append(data)

    def of(self, *names):
        return [attributes for tag, attributes in self.tags if tag in names]


def leaves(values, path=()):
    if isinstance(values, dict):
        for key, value in values.items():
            yield from leaves(value, (*path, key))
    else:
        yield path, values


def test_mapping_dict_json_and_page_have_the_same_numbers(report, tmp_path):
    report.save(tmp_path / "report.json")
    report.save(tmp_path / "report.html")
    values = report.to_dict()
    assert dict(report) == values
    assert json.loads((tmp_path / "report.json").read_text("utf-8")) == values
    text = (tmp_path / "report.html").read_text("utf-8")
    embedded = re.search(
        r'<script type="application/json" id="report">(.*?)</script>', text, re.DOTALL
    )[1]
    assert json.loads(embedded) == values
    shown = [each for each in Page(text).of("span") if "data-metric" in each]
    assert len(shown) >= 4
    for each in shown:
        task = values[each["data-task"]] if each["data-task"] else values
        assert float(each["data-value"]) == task[each["data-metric"]]


def test_every_class_is_in_the_page_with_its_numbers():
    report = REPORTS["classification"]()
    rows = re.findall(r'<tr><th scope="row">(.*?)</th>(<td class="bar".*?)</tr>', report.to_html())
    assert [html.unescape(name.replace("<wbr>", "")) for name, _ in rows] == NAMES
    for (_, cells), row in zip(rows, report["classes"].values(), strict=True):
        numbers = [float(value) for value in re.findall(r'data-value="(.*?)"', cells)]
        assert numbers == [row["precision"], row["recall"], row["f1"]]
        assert f"<td>{row['support']}</td>" in cells


def test_page_needs_nothing_outside_itself(report):
    text = report.to_html()
    page = Page(text)
    for _, attributes in page.tags:
        for key in ("src", "href", "xlink:href", "data", "action", "poster", "srcset"):
            assert attributes.get(key, "#").startswith(("#", "data:"))
    assert not page.of("iframe", "object", "embed", "base")
    assert all(target.startswith("#") for target in re.findall(r"url\(\s*['\"]?(.)", text))
    assert "@import" not in text
    policy = next(each["content"] for each in page.of("meta") if "http-equiv" in each)
    assert policy.startswith("default-src 'none'")


def test_texts_of_the_user_stay_texts(report):
    page = Page(report.to_html())
    assert [each.get("id") for each in page.of("script")] == ["report", None]
    assert not any("alert" in str(value) for each in page.of("script") for value in each.values())
    if report["about"].get("notes"):
        assert any(EVIL in text for text in page.texts["li"])  # the note
        assert any(EVIL in text for text in page.texts["td"])  # the model's name


def test_page_can_be_read_by_a_machine_and_aloud(report):
    page = Page(report.to_html())
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(set(ids)) == len(ids)
    assert all(each["alt"] for each in page.of("img"))
    assert all(each["role"] == "img" and each["aria-label"] for each in page.of("svg"))
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    sections = {each["id"] for each in page.of("section")}
    assert {each["href"][1:] for each in page.of("a")} == sections


def test_mistakes_are_pictures_with_captions():
    result = classification()
    text = kt.evaluation.Report(result, ABOUT).to_html()
    mistakes = re.search(r"Most confident mistakes</h3>(.*?</ul>)", text, re.DOTALL)[1]
    page = Page(mistakes)
    pictures = page.of("img")
    assert [each["src"] for each in pictures] == [mistake.picture for mistake in result.mistakes]
    for each, mistake in zip(pictures, result.mistakes, strict=True):
        assert each["alt"] == f"{mistake.file}: {mistake.target}, taken for {mistake.predicted}"
    sure = [text for text in page.texts["span"] if text.endswith("% sure")]
    assert sure == [f"{mistake.score:.0%} sure" for mistake in result.mistakes]
    names = re.findall(r'<span class="file">(.*?)</span>', mistakes)
    assert [html.unescape(name) for name in names] == [
        pathlib.PurePath(mistake.file).name for mistake in result.mistakes
    ]


def test_a_sample_shows_right_and_wrong_answers_whatever_the_batches():
    rng = np.random.default_rng(1)
    images, targets = rng.integers(0, 256, (60, 8, 8, 3)), rng.integers(0, 4, 60)
    rows = np.eye(4)[np.where(rng.random(60) < 0.6, targets, (targets + 1) % 4)]
    samples = []
    for size in (60, 7):
        collected = answers.Answers("x", kt.tasks.Classification(4))
        for first in range(0, 60, size):
            part = slice(first, first + size)
            collected.add(first, images[part], targets[part], rows[part])
        samples.append(collected.result().sample)
    assert samples[0] == samples[1]
    assert len({example.index for example in samples[0]}) == 8
    wrong = [example.score > 0 for example in samples[0]]
    assert wrong == [example.target != example.predicted for example in samples[0]]
    assert 0 < sum(wrong) < 8
    text = kt.evaluation.Report(collected.result(), ABOUT).to_html()
    section = re.search(r"Images drawn at random.*?</ul>", text, re.DOTALL)[0]
    assert section.count("<img") == 8
    assert section.count('<span class="said">') == 1 + sum(wrong)  # the help line has one


def test_stages_are_shown_with_epochs_from_one():
    page = Page(REPORTS["classification"]().to_html())
    cells = page.texts["td"]
    start = cells.index("head")
    assert cells[start : start + 9] == [
        "head", "1 – 2", "head", "1,290 in 1 layer", "300,000 in 2 layers", "adam", "0.001", "inference", "2.5",
    ]  # fmt: skip
    start = cells.index("block_2")
    assert cells[start + 1] == "3"
    assert any("best, epoch 2" in text for text in page.texts["text"])


@pytest.mark.parametrize(
    ("run_dir", "folder", "title"),
    [("runs/pets", "photos", "pets"), (None, "data/photos/", "photos"), (None, None, "tiny")],
)
def test_the_title_is_the_run_or_the_folder_of_the_images(run_dir, folder, title):
    data = {**ABOUT["data"], "folder": folder}
    about = {**ABOUT, "data": data, "training": {**RECORD, "run_dir": run_dir}}
    text = kt.evaluation.Report(regression(), about).to_html()
    assert Page(text).texts["h1"] == [title]
    assert "123 images per second" in text


def curves_of(about):
    """The boxes of the part about training, by heading."""
    text = kt.evaluation.Report(classification(), {**ABOUT, **about}).to_html()
    boxes = re.findall(r'<div class="box"><h3>(.*?)</h3>(.*?)</div>', text, re.DOTALL)
    return {title: content for title, content in boxes if "<svg" in content}


def test_a_training_loss_above_the_validation_loss_is_explained():
    about = {
        "history": {"loss": [3.0, 2.0, 1.5], "val_loss": [2.5, math.nan, 1.2], "mae": [3, 2, 1]},
        "only_in_training": ["labels are smoothed by 0.1"],
    }
    boxes = curves_of(about)
    assert "is no mistake" in boxes["Loss"]
    assert "labels are smoothed by 0.1" in boxes["Loss"]
    assert "is no mistake" not in boxes["Mae"]
    about["history"] = {"loss": [3.0, 2.0, 1.0], "val_loss": [2.5, 2.2, 2.0]}
    assert "is no mistake" not in curves_of(about)["Loss"]


def test_columns_of_the_log_that_nobody_knows_are_explained():
    history = {"val_error": [0.5, 0.4, 0.3], "breed_factor": [1.0, 1.2, 1.3], "loss": [3, 2, 1]}
    boxes = curves_of({"history": history})
    assert "val_error. The geometric mean of the errors of all tasks" in boxes["Error"]
    assert "In the log: breed_factor." in boxes["Weight of each task"]
    assert "figcaption" not in boxes["Loss"]


def test_chance_and_the_head_alone_are_lines_in_the_curves():
    record = {**RECORD, "baselines": {"classification": {"scores": {"accuracy": 0.3125}}}}
    history = {"loss": [3.0, 2.0, 1.0], "val_accuracy": [0.4, 0.53, 0.7]}
    boxes = curves_of({"history": history, "training": record})
    assert "chance, 0.312" in boxes["Accuracy"]
    assert "head alone, 0.53" in boxes["Accuracy"]  # when its stage was over
    assert "chance" not in boxes["Loss"]

    solved = [{"name": "head", "solved": {}, "measured": {"val_accuracy": 0.62}}]
    record["stages"] = [*solved, RECORD["stages"][1]]
    assert "head alone, 0.62" in curves_of({"history": history, "training": record})["Accuracy"]


def test_chance_comes_from_the_report_where_the_run_does_not_say():
    joint = {EVIL: classification(), "age": regression()}
    history = {"val_age_mae": [1.0, 0.5], "age_mae": [1.0, 0.5]}
    report = kt.evaluation.Report(joint, {**ABOUT, "history": history, "epochs": [0, 1]})
    chance = report["age"]["baseline"]["scores"]["mae"]
    assert f"chance, {chance:.3g}" in report.to_html()


def test_class_names_break_between_words_only():
    names = ["american_pit_bull", "x" * 30]
    text = kt.evaluation.Report(classification(names), ABOUT).to_html()
    assert '<th scope="row">american_<wbr>pit_<wbr>bull</th>' in text
    assert f'<th scope="row">{"x" * 30}</th>' in text
    rule = re.search(r"tbody th \{(.*?)\}", text)[1]
    assert "overflow-wrap" not in rule


def test_a_stage_that_was_solved_says_so():
    stages = [
        {"name": "head", "epochs": [0, 0], "solved": {"strength": 1.0}},
        *RECORD["stages"][1:],
    ]
    page = Page(kt.evaluation.Report(regression(), {"training": {"stages": stages}}).to_html())
    assert page.texts["td"].count("solved") == 1


@pytest.mark.parametrize("watched", [(), ("distance",), ("gradient",), ("distance", "gradient")])
def test_what_was_watched_by_block_is_drawn(watched):
    numbers = {"distance": {"block1": 0.0, EVIL: 0.25, "head": 0.5}, "gradient": {"head": 2.0}}
    insight = [{"epoch": 0, "stage": 0, **{kind: numbers[kind] for kind in watched}}]
    report = kt.evaluation.Report(regression(), {"training": {**RECORD, "insight": insight}})
    text = report.to_html()
    page = Page(text)
    titles = {
        "distance": "Distance from the pretrained weights by block",
        "gradient": "Gradient norm by block",
    }
    assert [title for title in page.texts["h3"] if "by block" in title] == [
        titles[kind] for kind in watched
    ]
    labels = [each["aria-label"] for each in page.of("svg")]
    assert [label for label in labels if "block" in label] == [
        f"{titles[kind]} over the epochs" for kind in watched
    ]
    assert "insight" not in [each.lower() for each in page.texts["th"]]  # not as a fact again
    assert report["about"]["training"]["insight"] == insight
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(set(ids)) == len(ids)


def test_report_is_a_mapping():
    report = REPORTS["several"]()
    assert list(report) == [EVIL, "age", "about"]
    assert report["age"]["rmse"] > 0
    assert report.get("absent") is None
    assert len(report) == 3


def test_numbers_that_are_not_finite_are_none():
    values = REPORTS["classification"]().to_dict()
    assert values["about"]["history"]["loss"] == [3.0, 2.0, None]
    odd = {
        "a": np.float32(1.5),
        "b": np.array([1, 2]),
        "c": pathlib.PurePosixPath("x"),
        "d": (math.inf, True),
    }
    about = kt.evaluation.Report(regression(), {"notes": odd})["about"]
    assert about["notes"] == {"a": 1.5, "b": [1, 2], "c": "x", "d": [None, True]}


def test_printed_table_is_aligned_and_has_every_class():
    report = REPORTS["classification"]()
    lines = str(report).splitlines()
    assert lines[0].split() == ["class", "precision", "recall", "f1", "support"]
    for line, (name, row) in zip(lines[1:], report["classes"].items(), strict=False):
        assert line.startswith(name)
        assert line.split()[-4:] == [
            *(f"{row[key]:.3f}" for key in ("precision", "recall", "f1")),
            str(row["support"]),
        ]
        assert len(line) == len(lines[0])
    assert f"accuracy {report['accuracy']:.3f}" in lines[5]
    assert lines[5].endswith("examples 80")
    assert lines[6].startswith("most confused: ")


def test_most_confused_pairs_are_the_largest_cells_off_the_diagonal():
    scores = kt.metrics.classification_scores(
        [0] * 5 + [1] * 4, np.eye(3)[[0, 0, 1, 1, 1, 2, 1, 1, 1]], ["a", "b", "c"]
    )
    result = answers.Result(kt.tasks.Classification(["a", "b", "c"]), scores, [])
    text = str(kt.evaluation.Report(result, {}))
    assert "most confused: a as b (3), b as c (1)" in text.splitlines()


@pytest.fixture(scope="module")
def many_classes():
    """What was measured of 100 classes, with large noisy pictures."""
    names = [f"a rather long class name {i}" for i in range(100)]
    return classification(names, examples=500, size=96)


def test_printed_table_of_many_classes_has_the_weakest(many_classes):
    report = kt.evaluation.Report(many_classes, {})
    lines = str(report).splitlines()
    assert "(the weakest 30 of 100 classes)" in lines
    weakest = min(row["f1"] for row in report["classes"].values() if row["support"])
    assert lines[1].split()[-2] == f"{weakest:.3f}"


def test_class_without_examples_is_shown_as_a_dash():
    scores = kt.metrics.classification_scores([0, 1], np.eye(3)[[0, 1]], ["a", "b", "c"])
    result = answers.Result(kt.tasks.Classification(["a", "b", "c"]), scores, [])
    report = kt.evaluation.Report(result, {})
    assert str(report).splitlines()[3].split() == ["c", "–", "–", "–", "0"]
    assert report.to_html().count('<td data-value="-1">–</td>') == 3


def test_task_of_another_kind_shows_its_numbers():
    class Overlap(kt.tasks.Task):
        kind = "overlap"

    result = answers.Result(Overlap(), {"mean_iou": 0.625, "support": 4}, [])
    report = kt.evaluation.Report(result, {})
    assert report["kind"] == "overlap"
    assert str(report) == "mean_iou 0.625   examples 4"
    assert 'data-metric="mean_iou" data-value="0.625"' in report.to_html()


def test_page_stays_small_with_large_noisy_pictures_and_many_classes(many_classes):
    report = kt.evaluation.Report(many_classes, ABOUT)
    assert len(report["mistakes"]) == 24
    assert len(report.to_html()) < 1_500_000


def test_notebooks_show_the_page_in_a_frame():
    shown = Page(REPORTS["bare"]()._repr_html_())
    assert [tag for tag, _ in shown.tags] == ["iframe"]
    assert shown.tags[0][1]["srcdoc"].startswith("<!DOCTYPE html>")


@pytest.mark.parametrize("name", ["report.pdf", "report", "html"])
def test_other_endings_are_an_error(name, tmp_path):
    with pytest.raises(checks.InputError, match=r"must end in \.html or \.json"):
        REPORTS["bare"]().save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_file_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    report = REPORTS["bare"]()
    report.save(tmp_path / "new" / "report.json")
    before = (tmp_path / "new" / "report.json").read_text("utf-8")

    def full_disk(self, text, **_):
        self.write_bytes(text.encode()[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pathlib.Path, "write_text", full_disk)
    with pytest.raises(checks.InputError, match=r"`path` must be writable.*No space left"):
        report.save(tmp_path / "new" / "report.json")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["report.json"]
    assert (tmp_path / "new" / "report.json").read_text("utf-8") == before


def test_folder_that_is_a_file_is_an_error(tmp_path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(checks.InputError, match="`path` must be writable"):
        REPORTS["bare"]().save(tmp_path / "runs" / "report.html")


def test_a_misspelt_key_names_the_close_ones():
    result = answers.Result(kt.tasks.Regression(), {"mae": 0.5, "rmse": 1.0}, [])
    report = kt.evaluation.Report(result, {"notes": []})
    with pytest.raises(KeyError, match=r"there is no 'rsme'\. Close keys: 'rmse'") as error:
        report["rsme"]
    assert "\\" not in str(error.value)
    assert report.get("rsme") is None
    several = kt.evaluation.Report({"age": result}, {"notes": []})
    with pytest.raises(KeyError, match="Close keys: 'mae'"):
        several["age"]["maee"]
    with pytest.raises(KeyError, match="Known: 'age', 'about'"):
        several["zzz"]
