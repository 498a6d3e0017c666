"""Docstring examples and README blocks run as written."""

import doctest
import importlib
import os
import pathlib
import pkgutil
import re

import pytest

import keras_transfer

ROOT = pathlib.Path(keras_transfer.__file__).parent.parent
NAMES = [each.name for each in pkgutil.walk_packages(keras_transfer.__path__, "keras_transfer.")]
MODULES = [
    # The contracts count traces.
    pytest.param(name, marks=[pytest.mark.compiled] if ".testing." in name else [])
    for name in NAMES
    if "__main__" not in name
]
OF_JAX = (
    "keras_transfer.machine.jax_engine",
    "keras_transfer.models.jax_steps",
    "keras_transfer.training.cache.jax_tracing",
    "keras_transfer.training.cache.jaxpr_key",
)
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / ".github" / "CONTRIBUTING.md",
    ROOT / "examples" / "benchmarks" / "README.md",
]
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL


@pytest.mark.docs
@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name, tmp_path, monkeypatch):
    if name in OF_JAX:
        pytest.importorskip("jax", reason="needs JAX")
    module = importlib.import_module(name)
    monkeypatch.chdir(tmp_path)
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    for test in doctest.DocTestFinder(exclude_empty=True).find(
        module, name, extraglobs={"kt": keras_transfer}
    ):
        runner.run(test)
    assert runner.summarize(verbose=False).failed == 0


@pytest.mark.compiled
@pytest.mark.docs
def test_the_readmes_python_runs_and_ends_far_above_chance(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert len([line for line in block.splitlines() if line]) <= 15
    names = {}
    exec(compile(block, "README.md", "exec"), names)
    assert len(names["data"].class_names) == 20  # chance is 5 %
    assert names["report"]["accuracy"] > 0.7
    assert (tmp_path / "runs" / "characters" / "report.html").is_file()
    assert (tmp_path / "runs" / "characters" / "export" / "1" / "saved_model.pb").is_file()


def test_documents_link_to_files_that_exist():
    for file in DOCUMENTS:
        links = re.findall(r"\]\((?!http)([^)#]+)\)", file.read_text())
        assert [link for link in links if not (file.parent / link).exists()] == [], file


def test_contributing_names_files_that_exist_and_25_words_at_most():
    text = (ROOT / ".github" / "CONTRIBUTING.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    names = re.findall(r"`([\w/]+(?:\.py|/))`", "\n".join(rows))
    assert len(names) > 30
    for name in names:
        assert (ROOT / name).exists() or (ROOT / "keras_transfer" / name).exists(), name
    words = rows[rows.index("| word | meaning |") + 1 :]
    assert len(words) <= 25


def test_no_tracked_text_names_a_machine():
    """Paths and hosts of the place where something was written have no meaning elsewhere."""
    wrong = re.compile(r"/root/|/home/\w+/|/work/")
    found = []
    for folder in ("keras_transfer", "tests", "examples"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in {".py", ".md", ".cfg", ".toml"} and path != pathlib.Path(__file__):
                found += [f"{path}: {hit}" for hit in wrong.findall(path.read_text())]
    assert found == []
    assert os.path.exists(ROOT / "LICENSE")
