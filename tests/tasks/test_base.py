import keras
import pytest

import keras_transfer as kt
from keras_transfer.core import checks

KINDS = {"classification": (kt.tasks.Classification, 3), "regression": (kt.tasks.Regression, 2)}


@pytest.mark.parametrize("kind", KINDS)
def test_level_and_stop_travel_in_the_config(kind):
    make, first = KINDS[kind]
    task = make(first, level="P4", stop_gradient=True)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(task))
    assert (again.level, again.stop_gradient) == ("P4", True)
    assert again.get_config() == task.get_config()
    plain = make(first)
    assert (plain.level, plain.stop_gradient) == (None, False)
    assert not {"level", "stop_gradient"} & set(plain.get_config())


@pytest.mark.parametrize("bad", [{"level": 4}, {"level": "block4"}, {"stop_gradient": "age"}])
def test_bad_places(bad):
    with pytest.raises(checks.InputError, match=f"`{next(iter(bad))}` must be"):
        kt.tasks.Classification(3, **bad)
