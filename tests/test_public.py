"""The public face: every name is there, loads lazily, and costs nothing before it is used."""

import importlib
import inspect
import pathlib
import re
import subprocess
import sys
import time

import pytest

import keras_transfer as kt

ROOT = pathlib.Path(kt.__file__).parent.parent
ROOMS = sorted(set(kt.__all__) - set(kt._HOMES) - {"__version__"})


@pytest.mark.parametrize("name", kt.__all__)
def test_every_public_name_loads(name):
    assert getattr(kt, name) is not None
    assert name in dir(kt)


@pytest.mark.parametrize("room", ROOMS)
def test_every_name_of_a_room_exists_and_is_documented(room):
    module = importlib.import_module(f"keras_transfer.{room}")
    assert module.__doc__
    for name in module.__all__:
        value = getattr(module, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert inspect.getdoc(value), f"{room}.{name}"


def test_unknown_name():
    with pytest.raises(
        kt.InputError, match=r"`kt` has no such name\. .*'fine_tun'. Close names: fine_tune"
    ):
        kt.fine_tun  # noqa: B018
    assert not hasattr(kt, "fine_tun")


@pytest.mark.parametrize("room", ROOMS)
def test_unknown_name_in_a_room(room):
    module = getattr(kt, room)
    with pytest.raises(kt.InputError, match=rf"`kt\.{room}` has no such name\. Given: 'Oracle'"):
        module.Oracle  # noqa: B018
    assert not hasattr(module, "Oracle")
    name = module.__all__[0]
    with pytest.raises(AttributeError, match=f"Close names: .*{name}"):
        getattr(module, f"{name}x")


def test_the_old_name_of_a_room_works_and_warns():
    with pytest.warns(DeprecationWarning, match=r"use kt\.studies"):
        assert kt.comparing is kt.studies


def test_errors_about_input_have_a_public_name():
    with pytest.raises(kt.InputError, match="Close names"):
        kt.backbone("MobilNetV2")
    assert issubclass(kt.InputError, ValueError)


def python(code):
    return subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code], capture_output=True, text=True, check=True
    )


def test_import_is_quick_and_light():
    done = python(
        "import keras_transfer, sys; print(sorted({'keras', 'tensorflow', 'numpy', 'sklearn'} & set(sys.modules)))"
    )
    assert done.stdout.strip() == "[]"
    microseconds = min(
        int(
            re.search(
                r"\|\s*(\d+) \|\s*keras_transfer$", python("import keras_transfer").stderr, re.M
            ).group(1)
        )
        for _ in range(3)
    )
    assert microseconds < 50_000


def test_help_is_quick_and_light():
    code = (
        "import sys\n"
        "from keras_transfer.cli import main\n"
        "try:\n    main.main(['--help'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "assert not {'keras', 'tensorflow', 'numpy'} & set(sys.modules)"
    )
    seconds = []
    for _ in range(5):
        begin = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        seconds.append(time.perf_counter() - begin)
    assert "demo" in done.stdout
    assert "train" in done.stdout
    assert min(seconds) < 0.3


def test_ci_runs_the_command_of_the_readme():
    commands = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    (command,) = [line for block in commands for line in block.splitlines() if "pytest" in line]
    assert command in (ROOT / ".ci" / "run").read_text().splitlines()
