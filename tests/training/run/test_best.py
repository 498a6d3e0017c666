"""The weights of the best epoch, in memory and on disk."""

import keras
import numpy as np
import pytest

from keras_transfer.graphs import paths
from keras_transfer.training.run import best, log


def model_of():
    return keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="top")])


def filled(model, value):
    for variable in model.weights:
        variable.assign(np.full(variable.shape, value, "float32"))


def considered(found, epoch, loss):
    filled(found.model, float(epoch))
    found.consider(epoch, {"val_loss": loss})


def on_disk(folder):
    model = model_of()
    best.load_best(model, folder)
    return float(
        np.unique(np.concatenate([np.ravel(value) for value in model.get_weights()])).item()
    )


def test_the_best_epoch_is_kept_and_written(tmp_path):
    found = best.Best(model_of(), "val_loss", folder=tmp_path)
    for epoch, loss in enumerate([3.0, 1.0, 2.0]):
        considered(found, epoch, loss)
    assert (found.epoch, on_disk(tmp_path)) == (1, 1.0)
    found.finish()
    assert all((value == 1.0).all() for value in found.model.get_weights())


@pytest.mark.parametrize(
    ("accuracy", "is_kept"), [(0.88, True), (0.80, False), (0.97, True), (float("nan"), False)]
)
def test_the_end_of_a_falling_rate_counts_unless_another_epoch_is_better_by_more_than_chance(
    accuracy, is_kept
):
    """Of 50 images, 0.92 has a standard error of 0.041."""
    for has_fallen in (False, True):
        found = best.Best(model_of(), "val_accuracy", images=50)
        found.consider(0, {"val_accuracy": 0.92, "val_loss": 0.3})
        found.consider(1, {"val_accuracy": accuracy, "val_loss": 0.5}, has_fallen=has_fallen)
        is_highest = accuracy == 0.97
        assert found.epoch == int(is_highest or (is_kept and has_fallen))
        assert found.is_highest == (is_highest or found.epoch == 0)
    unknown = best.Best(model_of(), "val_loss")
    unknown.consider(0, {"val_loss": 0.3})
    unknown.consider(1, {"val_loss": 0.4}, has_fallen=True)
    assert unknown.epoch == 0


def test_what_a_full_disk_refused_is_written_later(tmp_path, monkeypatch, capsys):
    found = best.Best(model_of(), "val_loss", folder=tmp_path)
    considered(found, 0, 3.0)
    with monkeypatch.context() as full:
        full.setattr(
            "numpy.savez",
            lambda *_, **__: (_ for _ in ()).throw(OSError(28, "No space left on device")),
        )
        considered(found, 1, 1.0)
    assert "could not be written" in capsys.readouterr().out
    assert on_disk(tmp_path) == 0.0
    considered(found, 2, 2.0)  # not better, but there is room
    assert on_disk(tmp_path) == 1.0


def test_weights_of_another_epoch_are_not_taken_for_the_best(tmp_path, capsys):
    first = best.Best(model_of(), "val_loss", folder=tmp_path)
    considered(first, 0, 3.0)
    facts = {"epoch": 4, "value": [0.5, 0.5], "written": False}  # as a full disk leaves them
    again = best.Best(model_of(), "val_loss", folder=tmp_path)
    again.resume(facts)
    assert (again.epoch, again.weights) == (None, None)
    assert "The weights of epoch 5, the best so far, were not written" in capsys.readouterr().out
    again = best.Best(model_of(), "val_loss", folder=tmp_path)
    again.resume(first.facts())
    assert (again.epoch, again.value) == (0, (3.0, 3.0))
    assert all((value == 0.0).all() for value in again.weights)


def test_files_hold_nothing_but_weights_by_path(tmp_path):
    found = best.Best(model_of(), "val_loss", folder=tmp_path)
    considered(found, 0, 3.0)
    with np.load(tmp_path / best.FILE, allow_pickle=False) as saved:
        assert set(saved.files) == set(paths.variables(found.model))


@pytest.mark.parametrize("text", ["", "epoch,loss\n0,1.5\n1,1.0\n2,0.5\n"])
def test_a_log_goes_on_where_the_run_does(tmp_path, text):
    (tmp_path / "results.csv").write_text(text)
    found = log.Log(tmp_path, upto=2)
    found.on_epoch_end(2, {"loss": 0.75})
    rows = (tmp_path / "results.csv").read_text().splitlines()
    assert rows == (
        ["epoch,loss", "0,1.5", "1,1.0", "2,0.75"] if text else ["epoch,loss", "2,0.75"]
    )
