"""What is chosen where the user chooses nothing: which layers train, and for how long."""

import keras
import pytest

import keras_transfer as kt
from keras_transfer.training import plans


@pytest.fixture(scope="module")
def model():
    return kt.build_model(kt.backbone("tiny", weights=None), kt.tasks.Classification(3), seed=0)


def made(model, plan="two_stage", **options):
    request = plans.Request(**options)
    return plans.make(plan, model, request), request.notes


@pytest.mark.parametrize(
    ("examples", "batches", "epochs", "rate"),
    [(24, 1, 15, 1e-4), (640, 20, 10, 3e-4), (2_000, 63, 4, 3e-4), (50_000, 1563, 4, 3e-4)],
)
def test_above_a_solved_head_the_upper_half_trains_for_a_few_epochs(
    examples, batches, epochs, rate, model
):
    (head, upper), notes = made(model, examples=examples, batches=batches)
    assert (head.solve, upper.train) == (True, "block2")
    assert (upper.epochs, upper.learning_rate) == (epochs, rate)
    assert (upper.schedule, upper.early_stopping) == ("cosine", None)
    assert "unfreeze='block2' chosen (the upper 3 of 5 blocks)." in notes
    assert f"learning_rate={rate} chosen for {examples} examples (after the head)." in notes
    assert f"epochs={epochs} chosen for {examples} examples, all of them:" in "".join(notes)


def test_what_is_asked_for_is_done(model):
    (_, upper), notes = made(model, epochs=3, unfreeze="all", examples=24)
    assert (upper.epochs, upper.train) == (3, "all")
    assert not any("epochs" in note or "unfreeze" in note for note in notes)

    (_, upper), _ = made(model, epochs=(2, 5), examples=24)
    assert (upper.epochs, upper.train) == (5, "all")


def test_a_head_that_is_trained_stops_when_it_has_stopped_helping():
    hidden = kt.tasks.Classification(3, hidden=[4])
    model = kt.build_model(kt.backbone("tiny", weights=None), hidden)
    (head, upper), _ = made(model, examples=24, batches=1)
    assert (head.train, head.epochs, head.early_stopping) == ("head", 50, "auto")
    assert (upper.train, upper.epochs, upper.early_stopping) == ("block2", 15, None)


def test_a_trunk_of_one_block_trains_as_a_whole():
    image = keras.Input((16, 16, 3))
    network = keras.Model(image, keras.layers.Conv2D(4, 3, name="block1_conv")(image))
    model = kt.build_model(network, kt.tasks.Classification(3))
    (_, upper), _ = made(model, examples=24)
    assert upper.train == "all"
