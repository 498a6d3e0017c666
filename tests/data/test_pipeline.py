import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_transfer.data import pipeline
from keras_transfer.storage import images

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (11, 6, 5, 3), dtype=np.uint8)
OPTIONS = {"size": (6, 5), "batch_size": 4}


def examples(rows=None, targets=None):
    rows = np.arange(11) if rows is None else rows
    return pipeline.Examples(
        pipeline.on_cpu(PIXELS), rows, np.arange(len(rows)) if targets is None else targets
    )


def flat(dataset):
    pairs = [(x.numpy(), y.numpy()) for x, y in dataset]
    return np.concatenate([x for x, _ in pairs]), np.concatenate([y for _, y in pairs])


def test_without_epochs_examples_keep_their_order():
    rows = np.array([7, 2, 9, 4, 0])
    dataset = pipeline.batches(examples(rows), **OPTIONS)
    assert [len(x) for x, _ in dataset] == [4, 1]
    assert dataset.cardinality() == 2
    assert dataset.element_spec[0] == tf.TensorSpec((None, 6, 5, 3), tf.float32)
    x, y = flat(dataset)
    np.testing.assert_array_equal(x, PIXELS[rows].astype(np.float32))
    np.testing.assert_array_equal(y, np.arange(5))


def test_every_pass_has_its_own_order_whatever_tensorflow_draws():
    passes = []
    for seed in (1, 2):
        tf.random.set_seed(seed)
        np.random.seed(seed)
        epochs = pipeline.Epochs(11, seed=3)
        dataset = pipeline.batches(examples(), epochs=epochs, **OPTIONS)
        assert dataset.cardinality() == 3
        passes.append([flat(dataset) for _ in range(3)])
        assert epochs.next == 3
    for epoch, ((x, y), (again, same)) in enumerate(zip(*passes, strict=True)):
        np.testing.assert_array_equal(y, np.random.default_rng((3, epoch)).permutation(11))
        np.testing.assert_array_equal(same, y)
        np.testing.assert_array_equal(x, PIXELS[y])
        np.testing.assert_array_equal(again, x)
    assert not np.array_equal(passes[0][0][1], passes[0][1][1])


def test_repeat_goes_on_with_the_next_order():
    epochs = pipeline.Epochs(11, seed=0)
    twice = flat(pipeline.batches(examples(), epochs=epochs, **OPTIONS).repeat(2))[1]
    np.testing.assert_array_equal(
        twice, np.concatenate([pipeline.Epochs(11, seed=0).order(k) for k in (0, 1)])
    )


def test_what_is_made_of_places_is_what_a_map_makes():
    examples = pipeline.Examples.of(np.zeros((7, 4, 4, 3), np.uint8), np.arange(7) * 10)

    def then(index, targets):
        return tf.cast(index, tf.float32) + 0.5, targets + 1

    made = pipeline.places(examples, batch_size=2, epochs=pipeline.Epochs(7, seed=3), then=then)
    mapped = pipeline.places(examples, batch_size=2, epochs=pipeline.Epochs(7, seed=3)).map(then)
    assert len(made) == len(mapped) == 4
    for _ in range(2):  # passes
        for ours, theirs in zip(made, mapped, strict=True):
            np.testing.assert_array_equal(ours[0], theirs[0])
            np.testing.assert_array_equal(ours[1], theirs[1])


def test_targets_may_be_a_dict():
    targets = {"kind": np.arange(11), "size": np.arange(11, dtype=np.float32) / 2}
    x, y = next(
        iter(
            pipeline.batches(
                examples(targets=targets), epochs=pipeline.Epochs(11, seed=0), **OPTIONS
            )
        )
    )
    np.testing.assert_array_equal(y["size"] * 2, y["kind"])
    np.testing.assert_array_equal(x, PIXELS[y["kind"]])


def test_pick_takes_rows_and_targets():
    picked = examples(np.array([5, 6, 7]), {"a": np.array([1, 2, 3])}).pick(np.array([2, 0]))
    np.testing.assert_array_equal(picked.rows, [7, 5])
    np.testing.assert_array_equal(picked.targets["a"], [3, 1])


def test_files_give_what_decoded_pixels_give(tmp_path):
    files = []
    for at in range(11):
        files.append(str(tmp_path / f"{at}.png"))
        tf.io.write_file(
            files[-1], tf.io.encode_png(RNG.integers(0, 256, (9, 12, 3), dtype=np.uint8))
        )
    decoded = np.stack([images.load(file, (6, 5)) for file in files])
    rows = np.array([3, 1, 10, 0, 7])
    orders = [pipeline.Epochs(5, seed=1) for _ in range(2)]
    from_files = pipeline.Examples(pipeline.on_cpu(np.array(files, object)), rows, np.arange(5))
    from_memory = pipeline.Examples(pipeline.on_cpu(decoded), rows, np.arange(5))
    assert from_memory.is_decoded
    assert not from_files.is_decoded
    one, other = (
        flat(pipeline.batches(found, epochs=epochs, **OPTIONS))
        for found, epochs in zip((from_files, from_memory), orders, strict=True)
    )
    np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_array_equal(one[1], other[1])


def test_pixels_are_not_copied_into_the_graph():
    big = pipeline.Examples(
        pipeline.on_cpu(np.zeros((300, 64, 64, 3), np.uint8)), np.arange(300), np.arange(300)
    )
    dataset = pipeline.batches(big, size=(64, 64), batch_size=32)
    graph = dataset._as_serialized_graph  # the graph that would have to hold the 3.7 MB
    functions = sum(len(function.SerializeToString()) for function in _functions(graph))
    assert functions < 100_000


def _functions(serialize):
    definition = tf.compat.v1.GraphDef()
    try:
        definition.ParseFromString(serialize().numpy())
    except tf.errors.OpError as refused:
        pytest.skip(str(refused))
    return definition.library.function


class Seen(keras.layers.Layer):
    """Passes its input on and remembers the first pixel of every training image."""

    def __init__(self):
        super().__init__()
        self.traces = 0
        self.record = tf.Variable(tf.zeros((0,)), shape=(None,), trainable=False)

    def call(self, inputs):
        self.traces += 1
        self.record.assign(tf.concat([self.record, inputs[:, 0, 0, 0]], 0))
        return inputs


@pytest.mark.compiled
def test_fit_runs_over_it_without_retracing_between_epochs():
    pixels = np.repeat(np.arange(11, dtype=np.uint8), 90).reshape(11, 6, 5, 3)
    own = pipeline.Examples(pipeline.on_cpu(pixels), np.arange(11), np.arange(11))
    epochs = pipeline.Epochs(11, seed=0)
    train = pipeline.batches(own, epochs=epochs, **OPTIONS)
    seen = Seen()
    model = keras.Sequential(
        [
            keras.Input((6, 5, 3)),
            seen,
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(11),
        ]
    )
    model.compile(
        "sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"]
    )
    seen.traces, counts = 0, []

    class Count(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            epochs.next = epoch  # as a resumed run does
            seen.record.assign(tf.zeros((0,)))

        def on_epoch_end(self, epoch, logs=None):
            counts.append(seen.traces)
            np.testing.assert_array_equal(seen.record[:11], epochs.order(epoch))

    history = model.fit(train, epochs=3, callbacks=[Count()], verbose=0, shuffle=False)
    assert len(history.history["loss"]) == 3
    assert counts[0] == counts[1] == counts[2]
