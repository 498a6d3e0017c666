"""The types that the package promises: scripts of users and the package itself pass the type checkers."""

import ast
import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

import keras_transfer as kt

ROOT = pathlib.Path(kt.__file__).parent.parent
MISSPELT = "import keras_transfer as kt\n\nkt.fine_tun\nkt.tasks.Clasification\n"


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    """The README's Python block as a script, and a script with misspelt names."""
    folder = tmp_path_factory.mktemp("types")
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert blocks
    (folder / "readme.py").write_text("\n".join(blocks))
    (folder / "misspelt.py").write_text(MISSPELT)
    (folder / "pyrightconfig.json").write_text(json.dumps({"extraPaths": [str(ROOT)]}))
    return folder


def check(tool, *arguments, folder):
    """Runs a type checker; returns its exit code and what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", tool, *arguments],
        cwd=folder,
        env={**os.environ, "MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
def test_a_script_like_the_readmes_passes_mypy_strict(scripts):
    # silent: as for an installed package, what mypy thinks of the package's own files is not told
    options = ["--strict", "--follow-imports=silent"]
    code, text = check("mypy", *options, "readme.py", "misspelt.py", folder=scripts)
    lines = [line for line in text.splitlines() if ": error:" in line]
    assert code == 1
    assert [line.split(": error:")[0] for line in lines] == ["misspelt.py:3", "misspelt.py:4"], text


@pytest.mark.slow
def test_a_script_like_the_readmes_passes_pyright(scripts):
    options = ["--pythonpath", sys.executable]
    code, text = check("pyright", *options, folder=scripts)
    lines = [line for line in text.splitlines() if " - error:" in line]
    assert code == 1
    assert [re.search(r"(\w+\.py:\d+)", line).group(1) for line in lines] == [
        "misspelt.py:3",
        "misspelt.py:4",
    ], text


@pytest.mark.slow
def test_the_package_itself_passes_mypy(tmp_path):
    code, text = check("mypy", f"--cache-dir={tmp_path}", folder=ROOT)
    assert code == 0, text


def test_reasons_stand_beside_the_few_errors_that_are_ignored():
    package = (ROOT / "keras_transfer").rglob("*.py")
    lines = [line for path in package for line in path.read_text().splitlines()]
    ignored = [line for line in lines if "type: ignore" in line]
    assert len(ignored) <= 6
    assert all(re.search(r"type: ignore\[[\w-]+\]  # \w+", line) for line in ignored)


def test_type_checkers_see_every_public_name():
    tree = ast.parse((ROOT / "keras_transfer" / "__init__.py").read_text())
    (block,) = [
        node
        for node in tree.body
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
    ]
    names = {alias.name for node in block.body for alias in node.names}
    assert names | {"__version__"} == set(kt.__all__)
