"""Each example runs at its smallest, and eagerly: nearly all of its time would go into tracing."""

import pathlib

import pytest

EXAMPLES = pathlib.Path(__file__).parent.parent / "examples"
SMALLEST = {
    "cats_and_dogs.py": ["--images", "200", "--epochs", "1", "1", "--report", "report.html"],
    "count_shapes.py": ["--images", "60", "--epochs", "1", "1"],
    "faces_and_objects.py": ["--images", "60", "--image-size", "32", "--epochs", "1", "1"],
    "four_tasks_one_trunk.py": ["--images", "60", "--image-size", "32", "--epochs", "1", "1"],
    "one_channel_digits.py": ["--images", "150", "--epochs", "1", "1"],
    "photos_by_table.py": ["--images", "120", "--epochs", "1", "1"],
    "squeezenet.py": ["--images", "200", "--epochs", "1", "1"],
    "two_sets_one_trunk.py": ["--images", "120", "--epochs", "1", "1", "--report", "report.html"],
    "pretrain_tiny.py": None,  # its own test in tests/backbones/test_tiny.py
}
AS_MAIN = """
import os, runpy
import tensorflow as tf
tf.config.run_functions_eagerly(True)
file, folder = sys.argv[1:3]
os.chdir(folder)
sys.argv = sys.argv[2:]
runpy.run_path(file, run_name="__main__")
"""


def test_no_example_is_forgotten():
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(SMALLEST)


@pytest.mark.parametrize(
    "name", [name for name, arguments in SMALLEST.items() if arguments is not None]
)
def test_example(name, tmp_path, run_code):
    done = run_code(AS_MAIN, EXAMPLES / name, tmp_path, *SMALLEST[name])
    assert done.returncode == 0, done.stderr[-2000:]
    assert "accuracy" in done.stdout
