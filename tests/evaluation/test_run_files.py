"""The files of a report that one can send: pictures and the model card."""

import numpy as np
import pytest
import yaml
from PIL import Image

import keras_transfer as kt
from keras_transfer.evaluation import answers, card, examples

LABELS = {"": {"splits": ["train", "test"], "rows": [["cat", 5, 2], ["<b>do`g*", 7, 3]]}}
ABOUT = {
    "history": {"loss": [1.0, 0.5], "val_loss": [1.0, 0.75], "accuracy": [0.5, 1.0]},
    "epochs": [0, 1],
    "model": {"backbone": "tiny", "parameters": 1200, "weights": "pretrained"},
    "data": {"split": "test", "examples": 20, "digest": "abcd"},
    "training": {
        "run_dir": "runs/pets",
        "stages": [{"name": "head", "epochs": [0, 1], "rate_in_words": "0.001"}],
        "best_epoch": 1,
        "labels": LABELS,
        "examples": 12,
        "seconds": 75.0,
        "processor_seconds": 120.0,
        "energy": {"watt_hours": 0.333, "from": "estimated"},
    },
}


def report(about=ABOUT, names=("cat", "<b>do`g*")):
    rng = np.random.default_rng(0)
    targets = rng.integers(0, len(names), 20)
    column = answers.Answers("x", kt.tasks.Classification(names))
    column.add(
        0,
        rng.integers(0, 256, (20, 40, 60, 3)),
        targets,
        rng.dirichlet(np.ones(len(names)), 20).astype("float32"),
    )
    return kt.evaluation.Report(column.result(), about)


def test_pictures_are_files_that_others_can_open(tmp_path):
    written = report().save_pictures(tmp_path / "new")
    assert written == [
        "curves.png",
        "labels.png",
        "confusion.png",
        "reliability.png",
        "mistakes.png",
    ]
    for name in written:
        pixels = np.asarray(Image.open(tmp_path / "new" / name))
        assert min(pixels.shape[:2]) > 100
        assert pixels.max() == 255  # drawn on white
        assert pixels.min() < 60
    assert report({}).save_pictures(tmp_path) == [
        "confusion.png",
        "reliability.png",
        "mistakes.png",
    ]


def test_pictures_of_several_tasks_carry_their_names(tmp_path):
    rng = np.random.default_rng(0)
    column = answers.Answers("age", kt.tasks.Regression())
    column.add(0, rng.integers(0, 256, (9, 8, 8, 3)), np.arange(9.0), rng.random((9, 1)))
    both = {"age": column.result(), "pet": report()._results}
    written = kt.evaluation.Report(both, {}).save_pictures(tmp_path)
    assert written == [
        "scatter_age.png",
        "residuals_age.png",
        "mistakes_age.png",
        "confusion_pet.png",
        "reliability_pet.png",
        "mistakes_pet.png",
    ]


def test_the_card_has_numbers_data_limits_and_fields_for_hubs(tmp_path):
    whole = report()
    whole.save(tmp_path / "README.md")
    text = (tmp_path / "README.md").read_text("utf-8")
    _, front, body = text.split("---\n", 2)
    assert yaml.safe_load(front) == {
        "library_name": "keras",
        "license": "unknown",
        "pipeline_tag": "image-classification",
        "tags": ["keras_transfer", "image-classification"],
    }
    assert body.strip().startswith("# pets\n")
    for heading in (
        "How good it is",
        "What it learned from",
        "Limits",
        "How to load it",
        "Licence",
    ):
        assert f"\n## {heading}\n" in body
    assert f"| Accuracy | {whole['accuracy']:.3f} |" in body
    assert "12 training images." in body
    assert "Training took 75 s, 120 s of processor time, about 0.33 Wh (estimated)." in body


def test_names_of_the_user_stay_texts_in_the_card():
    text = report().to_markdown()
    assert "\\<b\\>do\\`g\\*" in text
    assert "<b>" not in text
    assert card.cost_in_words({"seconds": 1000.0}) == "1,000 s"


@pytest.mark.parametrize("content", [b"", b"<script>", b"\x89PNG\r\n\x1a\n" + b"0" * 60])
def test_a_damaged_sheet_is_none(content, tmp_path):
    (tmp_path / "sheet.png").write_bytes(content)
    assert examples.read_sheet(tmp_path / "sheet.png") is None
    assert examples.read_sheet(tmp_path / "no.png") is None
    Image.new("RGB", (5000, 10)).save(tmp_path / "wide.png")
    assert examples.read_sheet(tmp_path / "wide.png") is None
