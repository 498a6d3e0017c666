"""Every verb takes every kind of data, and equal content gives equal results."""

import functools
import tempfile

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_transfer as kt
from keras_transfer.core import checks
from keras_transfer.training.rates import search

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (20, 8, 8, 3), np.uint8)
LABELS = np.arange(20) % 2
TRAIN, HELD = (IMAGES[:12], LABELS[:12]), (IMAGES[12:], LABELS[12:])


class Sequence(keras.utils.PyDataset):
    def __init__(self, *arrays):
        super().__init__()
        self.arrays = arrays

    def __len__(self):
        return 1

    def __getitem__(self, place):
        return self.arrays


class Loader:
    """Batches by iteration, with a length."""

    def __init__(self, *arrays):
        self.arrays = arrays

    def __len__(self):
        return 1

    def __iter__(self):
        yield self.arrays


def dataset(*arrays):
    return tf.data.Dataset.from_tensor_slices(arrays).batch(len(arrays[0]))


def ones(arrays):
    return (*arrays, np.ones(len(arrays[0]), "float32"))


def records(data):
    return kt.data.from_records(kt.data.write_records(data, tempfile.mkdtemp()))


# Each holds the same batch: examples in an order of their own would move a sum by a rounding at most.
WHOLE = {
    "arrays": lambda part: part,
    "lists": lambda part: (list(part[0]), part[1].tolist()),
    "weights": ones,
    "no weights": lambda part: (*part, None),
    "tf.data": lambda part: dataset(*part),
    "tf.data, weights": lambda part: dataset(*ones(part)),
    "PyDataset": lambda part: Sequence(*part),
    "PyDataset, weights": lambda part: Sequence(*ones(part)),
    "batches with a length": lambda part: Loader(*part),
}
DIVIDED = {
    "kt.data": lambda: kt.data.from_arrays(*TRAIN, validation=HELD),
    "records": lambda: records(kt.data.from_arrays(*TRAIN, validation=HELD)),
    "pair of arrays": lambda: (TRAIN, HELD),
    "pair of tf.data": lambda: (dataset(*TRAIN), dataset(*HELD)),
    "pair of PyDatasets": lambda: (Sequence(*TRAIN), Sequence(*HELD)),
    "pair of two kinds": lambda: (TRAIN, dataset(*HELD)),
}


def network():
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, name="block1_conv")(image)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization(name="block1_norm")(x))
    return kt.backbone(keras.Model(image, x, name="net"), preprocess="tf")


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """Steps run eagerly, which takes a tenth of tracing them; an export is loaded once."""
    monkeypatch.setattr(tf.saved_model, "load", functools.cache(tf.saved_model.load))
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="module")
def start():
    """A model, its first weights and its export."""
    model = kt.build_model(network(), kt.tasks.Classification(2))
    return model, model.get_weights()


@pytest.fixture
def model(start):
    """The model with its first weights."""
    start[0].set_weights(start[1])
    return start[0]


@pytest.fixture(scope="module")
def exported(start, tmp_path_factory):
    start[0].set_weights(start[1])
    return kt.export(start[0], tmp_path_factory.mktemp("export") / "1")


def fine_tune(model, data, exported):
    kt.fine_tune(model, data, stages=[kt.Stage(epochs=2)], augment=None, seed=0, verbose=0)
    return model.get_weights()


def evaluate(model, data, exported):
    report = kt.evaluate(model, data, verbose=0)
    return [report["accuracy"], report["ece"], report["support"]]


def extract(split):
    def run(model, data, exported):
        features = kt.features.extract(model, data, layers="block1_conv", split=split, verbose=0)
        return [np.asarray(features), features.targets]

    return run


def verify(model, data, exported):
    return [kt.verify(exported, model, data)["images"]]


def find_learning_rate(model, data, exported):
    """The losses fall by themselves: which batches the search is given is the question here."""

    def losses(model, batches, rates):
        ((images, targets, *weights),) = batches
        loss = model.test_on_batch(images, targets, *weights)[0]
        return [loss - number for number, _ in enumerate(rates)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "_range_test", losses)
        return [kt.find_learning_rate(model, data, verbose=0).losses]


def recalibrate(model, data, exported):
    kt.training.recalibrate(model, data, norms=["net/block1_norm", "block1_norm"])
    return model.get_weights()


def solve_head(model, data, exported):
    kt.training.solve_head(model, data)
    return model.get_weights()


def score(model, data, exported):
    return [kt.training.soup([model], score=data).score]


def soup(model, data, exported):
    other = {path: value + 1 for path, value in kt.training.soup([model]).weights.items()}
    options = {"batch_norm": "recalibrate", "recalibrate": data}
    return list(kt.training.soup([model, other], **options).weights.values())


# verb: how to call it, and which part of divided data it takes.
VERBS = {
    "fine_tune": (fine_tune, "both"),
    "evaluate": (evaluate, "held"),
    "extract train": (extract("train"), "train"),
    "extract validation": (extract("validation"), "held"),
    "verify": (verify, "held"),
    "find_learning_rate": (find_learning_rate, "train"),
    "recalibrate": (recalibrate, "train"),
    "solve_head": (solve_head, "both"),
    "soup": (soup, "train"),
    "score of a soup": (score, "held"),
}


@pytest.mark.parametrize("verb", VERBS)
def test_equal_content_gives_equal_results(verb, start, exported):
    run, part = VERBS[verb]
    model, weights = start
    whole = HELD if part == "held" else TRAIN

    def results(data):
        model.set_weights(weights)
        return run(model, data, exported)

    # Training with a held-out part ends with the best weights, without with the last.
    divided = {name: results(make()) for name, make in DIVIDED.items()}
    undivided = {name: results(make(whole)) for name, make in WHOLE.items()}
    if part != "both":
        divided |= undivided
    for group in (divided, undivided):
        expected = group.pop(next(iter(group)))
        assert len(group) >= 4
        for name, given in group.items():
            assert len(given) == len(expected)
            for one, other in zip(given, expected, strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5, err_msg=name)


UNLABELLED = ["extract train", "verify", "recalibrate", "soup"]


@pytest.mark.parametrize("verb", VERBS)
def test_images_alone_are_for_verbs_that_need_no_labels(verb, model, exported):
    images = IMAGES[:12]
    kinds = [images, dataset(images).map(lambda x: x), Sequence(images), Loader(images)]
    for data in kinds:
        if verb in UNLABELLED:
            VERBS[verb][0](model, data, exported)
        elif verb != "extract validation":
            with pytest.raises(checks.InputError, match=r"must give \(images, targets\)"):
                VERBS[verb][0](model, data, exported)


@pytest.mark.parametrize("verb", VERBS)
def test_what_cannot_work_is_an_error_everywhere(verb, model, exported):
    run = VERBS[verb][0]
    with pytest.raises(checks.InputError, match="must come from kt.data or be what Keras's fit"):
        run(model, 3, exported)
    with pytest.raises(checks.InputError, match="without a length"):
        run(model, (batch for batch in [TRAIN]), exported)
    with pytest.raises(checks.InputError, match="equal lengths"):
        run(model, (IMAGES, LABELS[:5]), exported)
    if verb != "find_learning_rate":  # which ends by itself
        with pytest.raises(checks.InputError, match="must end"):
            run(model, dataset(*TRAIN).repeat(), exported)
