import math

import keras

from keras_transfer.training.run import history


def test_notebooks_show_a_row_an_epoch():
    made = history.History()
    made.epoch = [0, 1, 2]
    made.history = {"loss": [math.nan, 0.5, 0.25], "val_accuracy": [0.1, 0.2, 0.9]}
    made.record = {"best_epoch": 1}
    page = made._repr_html_()
    assert "<tr><td>0</td><td></td><td>0.1</td></tr>" in page
    assert "<tr><td>1 (best)</td><td>0.5</td><td>0.2</td></tr>" in page
    assert isinstance(made, keras.callbacks.History)


def test_of_many_epochs_the_last():
    made = history.History()
    made.epoch, made.history = list(range(40)), {"loss": [1.0] * 40}
    page = made._repr_html_()
    assert page.count("<tr>") == 31
    assert "the last 30 of 40 epochs" in page
