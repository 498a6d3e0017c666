"""One model for all seeds of an arm: what was traced is used again, and each seed ends as a new model does."""

import keras
import numpy as np
import pytest
from networks import small

import keras_transfer as kt
from keras_transfer.studies import arms, trials

STAGES = [
    kt.Stage(epochs=2, train="head", learning_rate=1e-2, early_stopping=1),
    kt.Stage(
        epochs=2, train=1, decay=0.5, schedule="cosine", warmup=0.3, weight_decay=1e-2, ema=0.9
    ),
]  # fmt: skip


def trunk():
    keras.utils.set_random_seed(0)
    return small()


def task(data):
    return kt.tasks.Classification(
        data.class_names, hidden=[8], dropout=0.4, class_weights="balanced"
    )


@pytest.mark.compiled
def test_a_later_seed_ends_as_a_new_model_does_to_the_bit(tmp_path):
    data = kt.data.scenes(48, image_size=32, test=0.2, batch_size=16)
    ways = arms.make({"two": {"stages": STAGES, "refit": True}})
    setting = trials.Setting(data, task(data), trunk(), ways, {}, {}, str(tmp_path))
    parts = []
    for seed in (3, 4):
        own = setting.data_of(seed)
        keras.utils.set_random_seed(seed)
        kept = trials._train_model(setting, trials.Trial("two", seed), own)
        parts.append([id(part.model) for part in setting._kept["two"].traces._parts])
    # The head's stage is the same one when it is repeated on all images; the other one has more steps then.
    assert len(parts[0]) == 3
    assert sorted(parts[0]) == sorted(parts[1])

    keras.utils.set_random_seed(seed)
    new = kt.build_model(trunk(), task(data), seed=seed)
    options = {"stages": STAGES, "refit": True, "watch": (), "cache": "memory"}
    expected = kt.fine_tune(new, own, **options, seed=seed, verbose=0)
    assert kept.history.history == expected.history
    for mine, other in (
        (kept.history.before_refit, expected.before_refit),
        (kept.get_weights(), new.get_weights()),
    ):
        assert all(map(np.array_equal, mine, other))
    assert np.ptp(new.predict(own.test, verbose=0)) > 0.01
