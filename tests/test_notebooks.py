"""Each notebook runs from top to bottom on a processor, with small settings in place of its own."""

import os
import pathlib
import textwrap

import numpy as np
import pytest
from PIL import Image

EXAMPLES = pathlib.Path(__file__).parent.parent / "examples"
SMALL = """
BACKBONE, IMAGE_SIZE, BATCH_SIZE = "tiny", 32, 16
EPOCHS = (1, 1)
SCENES = 60
OUT = "runs"
"""


def run(notebook, settings, folder, monkeypatch):
    """Executes the notebook in `folder`, and returns what it printed."""
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(folder / "jupyter"))
    monkeypatch.setenv("PYTHONPATH", f"{EXAMPLES.parent}:{os.environ.get('PYTHONPATH', '')}")
    book = nbformat.read(EXAMPLES / notebook, as_version=4)
    (cell,) = [cell for cell in book.cells if "settings" in cell.metadata.get("tags", ())]
    cell.source = textwrap.dedent(settings) + SMALL
    resources = {"metadata": {"path": str(folder)}}
    nbclient.NotebookClient(book, timeout=300, resources=resources).execute()
    outputs = [output for cell in book.cells for output in cell.get("outputs", ())]
    return "".join(output.get("text", "") for output in outputs)


def write_photos(folder, generator):
    """Writes 20 JPEG files for each of two classes that differ in colour."""
    for name, colour in {"dusk": (200, 90, 40), "sea": (30, 90, 200)}.items():
        (folder / name).mkdir(parents=True)
        for number in range(20):
            pixels = generator.normal(colour, 30, (40, 40, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.jpg")


def check(folder, printed):
    """Both models were measured and exported, and the first export gave the same answers."""
    assert printed.count("accuracy") >= 2
    assert (folder / "runs" / "photos" / "report.html").is_file()
    assert (folder / "runs" / "photos" / "export" / "1" / "saved_model.pb").is_file()
    assert (folder / "runs" / "scenes" / "1" / "saved_model.pb").is_file()
    assert (folder / "runs" / "scenes.keras").is_file()


def test_colab_gpu_with_a_folder_of_photos(tmp_path, monkeypatch):
    write_photos(tmp_path / "photos", np.random.default_rng(0))
    settings = """
        import tensorflow as tf

        tf.config.run_functions_eagerly(True)  # nearly all of its time would go into tracing
        PHOTOS, TFDS = "photos", None
    """
    printed = run("colab_gpu.ipynb", settings, tmp_path, monkeypatch)
    check(tmp_path, printed)


@pytest.mark.engine
def test_colab_tpu_with_a_set_of_tensorflow_datasets(tmp_path, monkeypatch):
    pytest.importorskip("jax", reason="JAX is not installed: extra jax")
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.delenv("XLA_FLAGS", raising=False)  # the virtual devices of other tests
    settings = """
        import tensorflow_datasets as tfds

        mocked = tfds.testing.mock_data(num_examples=40)
        mocked.__enter__()  # made-up images, for the rest of the notebook
        PHOTOS, TFDS = None, "mnist"
    """
    check(tmp_path, run("colab_tpu.ipynb", settings, tmp_path, monkeypatch))
