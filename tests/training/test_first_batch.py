"""What a run leaves for its report: the first training batch as a picture, and how labels are distributed."""

import io
import re

import numpy as np
from PIL import Image

import keras_transfer as kt
from keras_transfer.training import first_batch

RNG = np.random.default_rng(0)
IMAGES = np.broadcast_to(RNG.integers(0, 256, (12, 1, 1, 3), dtype=np.uint8), (12, 32, 32, 3))


def run(data, folder, **options):
    model = kt.build_model(
        kt.backbone("tiny", weights=None), kt.tasks.Classification(data.class_names)
    )
    stage = kt.Stage(epochs=1, train="head", learning_rate=1e-3)
    options = {"stages": [stage], "run_dir": folder, "seed": 3, "verbose": 0, **options}
    return model, kt.fine_tune(model, data, **options)


def tiles(picture, count):
    """The colour in the middle of each picture of the sheet."""
    pixels = np.asarray(Image.open(io.BytesIO(picture))).astype(int)
    step = 176 + 6
    text = (pixels.shape[0] - 6) // -(-count // 4) - step
    return [pixels[94 + (at // 4) * (step + text), 94 + (at % 4) * step] for at in range(count)]


def test_the_report_shows_what_the_network_sees_first(tmp_path):
    labels = ["cat", "dog", "owl"] * 4
    data = kt.data.from_arrays(IMAGES, labels, validation=3 / 12, batch_size=4)
    model, history = run(data, tmp_path, augment=kt.data.Augment(flip=True, translation=0.1))
    written = (tmp_path / first_batch.FILE).read_bytes()
    drawn = Image.open(io.BytesIO(history.draw_first_batch()))
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(written))), np.asarray(drawn))

    first = data.order(0)[:4]
    expected = next(iter(data.ordered("train").rebatch(12)))[0].numpy()[first][:, 0, 0]
    np.testing.assert_allclose(tiles(written, 4), expected, atol=8)

    tables = history.record["labels"][""]
    assert tables["splits"] == ["train", "validation"]
    assert [row[0] for row in tables["rows"]] == ["cat", "dog", "owl"]
    assert np.sum([row[1:] for row in tables["rows"]], axis=0).tolist() == [9, 3]

    again = kt.evaluate(
        model, data, history={**history.record, "run_dir": str(tmp_path)}, verbose=0
    )
    for report in (kt.evaluate(model, data, verbose=0), again):
        page = report.to_html()
        assert page.count('class="sheet" src="data:image/jpeg;base64,') == 1
        assert re.search(
            r'<th scope="row">owl</th><td class="bar" style="--share:[\d.]+">\d</td>', page
        )
        assert "translation 0.1" in page
        assert len(page) < 5e6
    (tmp_path / first_batch.FILE).write_bytes(b"<script>")
    broken = kt.evaluate(
        model, data, history={**history.record, "run_dir": str(tmp_path)}, verbose=0
    )
    assert "sheet" not in broken.to_html().split("</style>")[1]


def test_runs_without_changes_show_images_as_they_are():
    data = kt.data.from_arrays(IMAGES, np.arange(12) % 3, validation=None, batch_size=12)
    _, history = run(data, None)
    expected = IMAGES[data.order(0)][:, 0, 0]
    np.testing.assert_allclose(tiles(history.draw_first_batch(), 12), expected, atol=8)
    assert data.epochs.next == 1  # looking at the first batch is no pass


def test_plain_data_sets_are_not_read_once_more_for_it(tmp_path):
    data = kt.data.from_arrays(IMAGES, np.arange(12) % 3, validation=None, batch_size=4)
    model = kt.build_model(kt.backbone("tiny", weights=None), kt.tasks.Classification(3))
    stage = kt.Stage(epochs=1, train="head", learning_rate=1e-3)
    history = kt.fine_tune(model, data.train, stages=[stage], run_dir=tmp_path, verbose=0)
    assert history.draw_first_batch is None
    assert not (tmp_path / first_batch.FILE).exists()
    assert history.record["labels"][""]["rows"] == [["0", 4], ["1", 4], ["2", 4]]
