import keras
import pytest

import keras_transfer as kt
from keras_transfer.core import checks
from keras_transfer.training import checking, plans, stages


@pytest.fixture(scope="module")
def model():
    return kt.build_model(kt.backbone("tiny", weights=None), kt.tasks.Classification(2))


def plan(model, name="two_stage", **asked):
    request = plans.Request(**{"examples": 1000, "batches": 32, **asked})
    return plans.make(name, model, request), request.notes


def test_the_default_solves_for_the_head_first(model):
    found, decided = plan(model)
    assert [stage.train for stage in found] == ["head", "block2"]  # the upper half
    assert [stage.solve for stage in found] == [True, False]
    assert (found[1].learning_rate, found[1].schedule, found[1].epochs) == (3e-4, "cosine", 7)
    assert len(decided) == 4


def test_a_head_with_hidden_layers_is_trained(model):
    deep = kt.build_model(kt.backbone("tiny", weights=None), kt.tasks.Classification(2, hidden=[4]))
    found, _ = plan(deep)
    assert [(stage.train, stage.solve, stage.learning_rate) for stage in found] == [
        ("head", False, 1e-3),
        ("block2", False, 1e-4),
    ]


def test_one_rate_is_that_of_the_stage_after_the_solved_head(model):
    found, _ = plan(model, learning_rate=1e-5)
    assert [stage.solve for stage in found] == [True, False]
    assert found[1].learning_rate == 1e-5
    assert [stage.solve for stage in plan(model, learning_rate=(1e-3, 1e-5))[0]] == [False, False]


def test_one_number_of_epochs_is_that_of_the_stage_after_the_head(model):
    solved, tuned = plan(model, epochs=3)[0]
    assert (solved.solve, tuned.solve) == (True, False)
    assert (tuned.epochs, tuned.train, tuned.schedule) == (3, "block2", "cosine")
    deep = kt.build_model(kt.backbone("tiny", weights=None), kt.tasks.Classification(2, hidden=[4]))
    assert [stage.epochs for stage in plan(deep, epochs=3)[0]] == [3, 3]
    with pytest.raises(checks.InputError, match="`epochs` must be a whole number"):
        plan(model, epochs=0)


def test_what_is_given_is_not_decided(model):
    found, decided = plan(model, epochs=(1, 2), unfreeze="block4", learning_rate=(1e-2, 1e-5))
    assert decided == []
    assert [stage.epochs for stage in found] == [1, 2]
    assert found[1].train == "block4"
    assert [stage.schedule for stage in found] == ["constant", "constant"]


@pytest.mark.parametrize(("batches", "epochs"), [(None, 7), (2, 15), (18, 12), (1000, 4)])
def test_fewer_examples_are_seen_more_often(model, batches, epochs):
    assert plan(model, batches=batches)[0][1].epochs == epochs


@pytest.mark.parametrize(
    ("examples", "epochs"), [(None, (20, 20)), (50, (20, 20)), (576, (10, 10)), (60_000, (2, 4))]
)
def test_lengths_of_plans_whose_stages_are_trained(model, examples, epochs):
    assert (
        tuple(stage.epochs for stage in plan(model, "norms_and_biases", examples=examples)[0])
        == epochs
    )


@pytest.mark.parametrize("name", list(plans.PLANS))
def test_every_plan_can_be_made_and_is_one_that_works(model, name):
    found, _ = plan(model, name, **({"unfreeze": "block2"} if name == "surgical" else {}))
    checking.check_plan(model, found)
    titles = ("all", "block2", "head, solved", "lora", "norms_and_biases", "stem", "head, block2")
    assert found[-1].title in titles


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"epochs": (0, 5)}, "`epochs` must be a whole number of at least 1. Given: 0"),
        ({"name": "gradual", "epochs": 5}, "`epochs` must be a pair"),
        ({"epochs": (1, 2, 3)}, "`epochs` must be a pair"),
        ({"learning_rate": (1e-3, -1)}, "`learning_rate` must be a number above 0"),
        ({"epochs": (1, 1), "learning_rate": 1e-3}, "`learning_rate` must be a pair"),
        ({"batch_norm": "off"}, "`batch_norm` must be one of"),
    ],
)
def test_bad_plans(model, changed, message):
    with pytest.raises(checks.InputError, match=message):
        plan(model, **changed)


def test_a_stage_must_train_something(model):
    with pytest.raises(checks.InputError, match="stage 1 must train something"):
        checking.check_plan(model, [stages.Stage(epochs=1, train="classification")])


def test_each_stage_has_a_fresh_optimizer(model):
    stage = stages.Stage(
        epochs=1, learning_rate=keras.optimizers.schedules.CosineDecay(0.1, 10), optimizer="sgd"
    )
    first, second = (stage.new_optimizer(model, per_epoch=1) for _ in range(2))
    assert first is not second
    assert isinstance(first, keras.optimizers.SGD)


def test_unknown_optimizer():
    with pytest.raises(checks.InputError, match="name of a Keras optimizer"):
        stages.Stage(epochs=1, optimizer="adamm")
    with pytest.raises(checks.InputError, match="name of a Keras optimizer"):
        stages.Stage(epochs=1, optimizer=keras.optimizers.SGD())
