"""Bars where they can be drawn over, a line elsewhere, nothing for short passes."""

import re
import sys
import types

import numpy as np
import pytest
from networks import small

import keras_transfer as kt
from keras_transfer.core import checks
from keras_transfer.machine import progress


class Clock:
    """Goes on by three seconds whenever it is asked."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        self.now += 3.0
        return self.now

    def time(self):
        return self.now


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setattr(progress, "is_interactive", lambda: True)


def follow(monkeypatch, items, **options):
    monkeypatch.setattr(progress, "PATIENCE", 2.0)
    monkeypatch.setattr(progress, "time", Clock())
    return list(progress.follow(items, "Counting", **options))


def test_a_short_pass_shows_nothing(terminal, capsys, monkeypatch):
    monkeypatch.setattr(progress, "PATIENCE", 2.0)
    monkeypatch.setattr(progress, "time", types.SimpleNamespace(monotonic=lambda: 0.0))
    assert list(progress.follow(range(3), "Counting", total=3)) == [0, 1, 2]
    assert capsys.readouterr().out == ""


def test_a_long_pass_draws_keras_bar_on_a_terminal(terminal, capsys, monkeypatch):
    assert follow(monkeypatch, range(5), total=9, each=2, unit="file") == [0, 1, 2, 3, 4]
    label, bar = capsys.readouterr().out.split("\n", 1)
    assert label == "keras_transfer: Counting"
    assert "2/9" in bar
    assert "9/9" in bar.splitlines()[-1]  # two files an item, though the last one was alone
    assert "/file" in bar
    assert bar.endswith("\n")


def test_a_long_pass_writes_one_line_into_a_log(capsys, monkeypatch):
    follow(monkeypatch, range(5), total=5)
    assert re.fullmatch(r"keras_transfer: Counting took \d+ s\n", capsys.readouterr().out)
    follow(monkeypatch, range(5), total=5, verbose=0)
    assert capsys.readouterr().out == ""


def test_an_error_begins_in_a_line_of_its_own(terminal, capsys, monkeypatch):
    def items():
        yield from range(4)
        raise checks.error("it must go on", given="an end")

    with pytest.raises(checks.InputError):
        follow(monkeypatch, items())
    assert capsys.readouterr().out.endswith("\n")


def test_notebooks_draw_bars_and_pipes_do_not(monkeypatch):
    """A notebook's output is no terminal; its shell has a kernel."""
    assert not progress.is_interactive()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", types.SimpleNamespace(isatty=lambda: True))
        assert progress.is_interactive()
    shells = {True: types.SimpleNamespace(kernel="ipykernel"), False: types.SimpleNamespace()}
    for expected, shell in shells.items():
        ipython = types.SimpleNamespace(get_ipython=lambda shell=shell: shell)
        monkeypatch.setitem(sys.modules, "IPython", ipython)
        assert progress.is_interactive() == expected


def test_a_log_file_gets_a_line_for_each_epoch_and_no_bars(capsys, monkeypatch):
    monkeypatch.setattr(progress, "PATIENCE", -1.0)
    data = kt.data.scenes(n=16, image_size=32, validation=0.25)
    model = kt.build_model(small(), kt.tasks.Classification(data.class_names))
    stage = kt.Stage(epochs=2, train="head")
    kt.fine_tune(model, data, stages=[stage], cache="memory")
    kt.evaluate(model, data)
    kt.predict(model, np.zeros((2, 32, 32, 3), "uint8"))
    kt.features.extract(model, np.zeros((2, 32, 32, 3), "uint8"))
    printed = capsys.readouterr().out
    assert not {"\b", "\r", "━"} & set(printed)
    assert [printed.count(f"\nEpoch {epoch}\n") for epoch in ("1/2", "2/2")] == [1, 1]
    for label in (
        "Running the frozen layers",
        f"Measuring {model.name}",
        "Predicting",
        "Computing features",
    ):
        assert len(re.findall(rf"{label}.* took \d+ s\n", printed)) == 1

    kt.fine_tune(model, data, stages=[stage], cache="memory", verbose=0)
    assert capsys.readouterr().out == ""
