"""`time_limit`: with a clock of the test's own, on which a batch takes a second and nothing else takes any."""

import types

import keras
import numpy as np
import pytest
from networks import small

import keras_transfer as kt
from keras_transfer.core import checks
from keras_transfer.training.run import clock as clocks

PIXELS = np.random.default_rng(0).integers(0, 256, (30, 32, 32, 3), dtype="uint8")
STAGE = kt.Stage(epochs=20, train="all", learning_rate=1e-3, schedule="cosine")


@pytest.fixture
def data():
    return kt.data.from_arrays(PIXELS, np.arange(30) % 3, validation=0.2, batch_size=6, seed=0)


@pytest.fixture
def clock(monkeypatch):
    """A clock that only stands still, unless a test moves its `now`."""
    fake = types.SimpleNamespace(now=0.0)
    monkeypatch.setattr(clocks, "time", types.SimpleNamespace(monotonic=lambda: fake.now))
    return fake


class Ticking(keras.callbacks.Callback):
    """Moves the clock by a second a batch, and notes the rate of each."""

    def __init__(self, clock, *, kill_at=None):
        super().__init__()
        self.clock, self.kill_at = clock, kill_at
        self.rates = []

    def on_train_batch_begin(self, batch, logs=None):
        if len(self.rates) == self.kill_at:
            raise KeyboardInterrupt
        self.rates.append(float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)))
        self.clock.now += 1.0


def model_of():
    keras.utils.set_random_seed(0)
    return kt.build_model(small(), kt.tasks.Classification(3), seed=0)


def test_a_stage_that_does_not_fit_ends_in_time_with_its_rate_at_its_end(
    data, clock, capsys, tmp_path
):
    ticking, model = Ticking(clock), model_of()
    history = kt.fine_tune(
        model, data, stages=[STAGE], callbacks=[ticking], time_limit=30, verbose=1
    )
    assert 27 <= len(ticking.rates) <= 30  # of 80
    assert ticking.rates[0] == pytest.approx(1e-3)
    assert ticking.rates[-1] < 5e-5
    assert all(np.diff(ticking.rates) < 0)
    assert "This stage is cut short: `time_limit` leaves" in capsys.readouterr().out
    assert history.record["arguments"]["time_limit"] == 30
    model.save(tmp_path / "model.keras")
    loaded = kt.load_model(tmp_path / "model.keras")
    assert type(loaded.optimizer._learning_rate).__name__ == "CosineDecay"


def test_with_time_enough_the_run_is_the_same_to_the_bit(data, clock):
    stage = kt.Stage(epochs=2, train="all", schedule="cosine", warmup=0.2)
    weights = []
    for limit in (None, 1000):
        model = model_of()
        kt.fine_tune(model, data, stages=[stage], time_limit=limit, seed=0, verbose=0)
        weights.append(model.get_weights())
    for free, limited in zip(*weights, strict=True):
        np.testing.assert_array_equal(free, limited)


def test_two_stages_and_the_run_on_all_images_share_the_time(data, clock, capsys):
    head = kt.Stage(epochs=20, train="head", learning_rate=1e-3)
    ticking = Ticking(clock)
    history = kt.fine_tune(
        model_of(), data, stages=[head, STAGE], callbacks=[ticking], time_limit=40, refit=True,
        verbose=1,
    )  # fmt: skip
    assert 36 <= len(ticking.rates) <= 40
    spans = [
        last - first + 1 for first, last in (each["epochs"] for each in history.record["stages"])
    ]
    assert abs(spans[0] - spans[1]) <= 1
    assert "No second run on training and validation images together" in capsys.readouterr().out

    enough = Ticking(clock)
    short = [kt.Stage(epochs=2, train="all", schedule="cosine")]
    history = kt.fine_tune(
        model_of(), data, stages=short, callbacks=[enough], time_limit=40, refit=True, verbose=0
    )
    assert len(enough.rates) == 2 * 4 + 2 * 5
    assert history.record["refit"]["examples"] == 30


def test_a_resumed_run_keeps_the_time_that_it_spent(data, clock, tmp_path):
    options = {"stages": [STAGE], "time_limit": 30, "run_dir": tmp_path, "verbose": 0}
    first = Ticking(clock, kill_at=13)
    with pytest.raises(KeyboardInterrupt):
        kt.fine_tune(model_of(), data, callbacks=[first], **options)
    clock.now += 500  # between the two
    second = Ticking(clock)
    kt.fine_tune(model_of(), data, callbacks=[second], resume=True, **options)
    assert 27 <= 12 + len(second.rates) <= 30
    assert second.rates[0] < first.rates[11]  # where the schedule was, not at its beginning
    assert second.rates[-1] < 5e-5


def test_a_limit_below_one_pass_is_refused_before_anything_runs(data, tmp_path):
    model = model_of()
    before = model.get_weights()
    with pytest.raises(checks.InputError, match="`time_limit` must be enough for one pass over"):
        kt.fine_tune(model, data, time_limit=1e-6, run_dir=tmp_path, verbose=0)
    with pytest.raises(checks.InputError, match="`time_limit` must be a number above 0"):
        kt.fine_tune(model, data, time_limit=-1, verbose=0)
    assert list(tmp_path.iterdir()) == []
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
