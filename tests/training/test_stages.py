import keras
import pytest

import keras_transfer as kt
from keras_transfer.core import checks
from keras_transfer.training import stages


@pytest.fixture(scope="module")
def model():
    return kt.build_model(kt.backbone("tiny", weights=None), kt.tasks.Classification(2))


def plan(model, **changed):
    arguments = {"examples": 1000, "epochs": None, "unfreeze": None, "learning_rate": None, "batch_norm": "inference"}
    return stages.two_stage(model, **{**arguments, **changed})


def test_the_default_trains_the_head_first(model):
    found, decided = plan(model)
    assert [stage.train for stage in found] == ["head", "block2"]
    assert [stage.learning_rate for stage in found] == [1e-3, 1e-4]
    assert len(decided) == 3


def test_what_is_given_is_not_decided(model):
    found, decided = plan(model, epochs=(1, 2), unfreeze="block4", learning_rate=(1e-2, 1e-5))
    assert decided == []
    assert [stage.epochs for stage in found] == [1, 2]
    assert found[1].train == "block4"


@pytest.mark.parametrize(("examples", "epochs"), [(None, (20, 20)), (50, (20, 20)), (576, (10, 10)), (60_000, (2, 4))])
def test_fewer_examples_are_seen_more_often(model, examples, epochs):
    assert tuple(stage.epochs for stage in plan(model, examples=examples)[0]) == epochs


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"epochs": (0, 5)}, "`epochs` must be a whole number of at least 1. Given: 0"),
        ({"epochs": 5}, "`epochs` must be a pair"),
        ({"epochs": (1, 2, 3)}, "`epochs` must be a pair"),
        ({"learning_rate": (1e-3, -1)}, "`learning_rate` must be a number above 0"),
        ({"learning_rate": 1e-3}, "`learning_rate` must be a pair"),
        ({"batch_norm": "off"}, "`batch_norm` must be one of"),
    ],
)
def test_bad_plans(model, changed, message):
    with pytest.raises(checks.InputError, match=message):
        plan(model, **changed)


def test_a_stage_must_train_something(model):
    with pytest.raises(checks.InputError, match="stage 1 must train something"):
        stages.check_plan(model, [stages.Stage(epochs=1, train="classification")])


def test_each_stage_has_a_fresh_optimizer():
    stage = stages.Stage(epochs=1, learning_rate=keras.optimizers.schedules.CosineDecay(0.1, 10), optimizer="sgd")
    first, second = stage.new_optimizer(), stage.new_optimizer()
    assert first is not second
    assert isinstance(first, keras.optimizers.SGD)


def test_unknown_optimizer():
    with pytest.raises(checks.InputError, match="name of a Keras optimizer"):
        stages.Stage(epochs=1, optimizer="adamm")
    with pytest.raises(checks.InputError, match="name of a Keras optimizer"):
        stages.Stage(epochs=1, optimizer=keras.optimizers.SGD())
