import json
import os
import shutil
import signal
import time
import tracemalloc

import keras
import numpy as np
import pytest
import tensorflow as tf
from networks import small

import keras_transfer as kt
from keras_transfer.core import checks
from keras_transfer.data.records import index, writing

pytestmark = pytest.mark.compiled
RNG = np.random.default_rng(0)


def same(one, other):
    """Whether two data sets give the same batches, in three passes over the training data, to the bit."""
    for data in (one, other):
        data.set_epoch(0)
    for split in ("train", "validation", "test"):
        pair = [getattr(data, split) for data in (one, other)]
        assert (pair[0] is None) == (pair[1] is None)
        for _ in range(0 if pair[0] is None else 3 if split == "train" else 1):
            for batches in zip(*pair, strict=True):
                flat = [tf.nest.flatten(batch) for batch in batches]
                for a, b in zip(*flat, strict=True):
                    assert a.dtype == b.dtype
                    np.testing.assert_array_equal(a, b)
    for name in ("class_names", "digest", "image_size", "batch_size", "seed"):
        assert getattr(one, name) == getattr(other, name)
    assert one.summary().splitlines()[:-1] == other.summary().splitlines()[:-1]


def arrays(count=60, channels=3, dtype=np.uint8, **options):
    images = RNG.integers(0, 256, (count, 8, 6, channels)).astype(dtype)
    labels = {
        "kind": [None, "a", "b", "a", "c"] * (count // 5),
        "age": np.arange(count) / 3.0,
        "tags": [["red"], [], None, ["blue", "red"]] * (count // 4),
    }
    if dtype == np.float32:
        images += 0.25 * (images < 255)
    return kt.data.from_arrays(images, labels, test=0.2, batch_size=7, seed=3, **options)


def photos(root, count=20, start=0):
    """JPEG and PNG files of several sizes, grey ones and one that lies on its side among them."""
    for name in ("ant", "bee"):
        (root / name).mkdir(parents=True)
        for at in range(count):
            pixels = RNG.integers(0, 256, (9 + at % 3, 12, 1 if at % 5 == 0 else 3), dtype=np.uint8)
            encode, end = (tf.io.encode_jpeg, "jpg") if at % 2 else (tf.io.encode_png, "png")
            (root / name / f"{start + at} ü.{end}").write_bytes(encode(pixels).numpy())
    return root


@pytest.fixture
def folder(tmp_path):
    return kt.data.write_records(arrays(), tmp_path / "records")


def test_records_of_arrays_give_their_batches(tmp_path):
    for number, data in enumerate(
        (arrays(), arrays(channels=4), arrays(channels=5, dtype=np.float32))
    ):
        written = kt.data.write_records(data, tmp_path / str(number))
        back = kt.data.from_records(written)
        same(data, back)
        same(back, kt.data.from_records(written, cache="memory"))
        same(data, kt.data.from_records(kt.data.write_records(back, tmp_path / f"again {number}")))


@pytest.mark.parametrize("cache", ["memory", "off"])
def test_records_of_files_hold_the_files(tmp_path, cache):
    root = photos(tmp_path / "photos")
    data = kt.data.from_folder(root, image_size=8, test=0.2, seed=1, cache=cache)
    back = kt.data.from_records(kt.data.write_records(data, tmp_path / "records"))
    same(data, back)
    for split, files in data.files.items():
        names = [os.path.relpath(file, root) for file in files]
        assert back.files[split] == names
        examples = back.examples[split]
        found = examples.pixels.contents(examples.rows)
        assert found == [(root / name).read_bytes() for name in names]


def test_records_of_a_mixture_keep_its_orders(tmp_path):
    pets = kt.data.from_arrays(RNG.integers(0, 256, (10, 8, 6, 3)), ["a", "b"] * 5, batch_size=4)
    ages = kt.data.from_arrays(RNG.integers(0, 256, (6, 8, 6, 3)), np.arange(6.0) / 2, batch_size=4)
    data = kt.data.mix({"pets": pets, "ages": ages}, sampling="equal", seed=2)
    back = kt.data.from_records(kt.data.write_records(data, tmp_path))
    assert back.epochs.length == 16
    same(data, back)


def test_other_readers_of_tfrecord_know_what_is_in_them(folder):
    data = kt.data.from_records(folder)
    features = {
        "image": tf.io.FixedLenFeature([], tf.string),
        "targets/kind": tf.io.FixedLenFeature([], tf.int64),
        "weights/kind": tf.io.FixedLenFeature([], tf.float32),
        "targets/tags": tf.io.FixedLenFeature([2], tf.float32),
    }
    records = tf.data.TFRecordDataset(f"{folder}/train-00000.tfrecord")
    images = np.concatenate([batch[0] for batch in data.ordered("train")])
    assert len(list(records)) == len(images)
    for row, record in enumerate(records):
        found = tf.io.parse_single_example(record, features)
        np.testing.assert_array_equal(tf.io.decode_png(found["image"]), images[row])
        for key in ("kind", "tags"):
            np.testing.assert_array_equal(found[f"targets/{key}"], data.targets["train"][key][row])
        assert found["weights/kind"] == data.weights["train"]["kind"][row]


def test_the_order_of_files_on_disk_does_not_matter(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "TOGETHER", 3)
    data = arrays()
    place = writing.Folder(tmp_path / "records")
    place.make()
    writing._Writer(data, place, limit=2000).write()
    names = sorted(os.listdir(place.where))
    assert sum(name.endswith(".tfrecord") for name in names) > 5
    turned = tmp_path / "turned"
    turned.mkdir()
    for name in reversed(names):
        shutil.copyfile(tmp_path / "records" / name, turned / name)
    content = json.loads((turned / "records.json").read_text())
    content["shards"].reverse()
    del content["check"]
    content["check"] = index._check_of(content)
    (turned / "records.json").write_text(json.dumps(content))
    same(data, kt.data.from_records(turned))


def test_records_at_an_address_are_read_by_tensorflow(tmp_path):
    address = f"file://{tmp_path}/records"
    data = arrays()
    assert kt.data.write_records(data, address) == address
    same(data, kt.data.from_records(address))
    same(data, kt.data.from_records(tmp_path / "records"))
    with pytest.raises(checks.InputError, match="`folder` must be a folder of records"):
        kt.data.from_records(f"file://{tmp_path}/nothing")


@pytest.mark.parametrize("count", [2, 3])
def test_processes_read_each_example_once_in_a_pass(folder, count, capsys):
    whole = kt.data.from_records(folder, batch_size=4)
    parts = [
        kt.data.from_records(folder, batch_size=4, shard=(each, count)) for each in range(count)
    ]
    total = len(whole.examples["train"])
    for epoch in range(2):
        seen = [np.concatenate([y["age"] for _, y, _ in part.train]) for part in parts]
        np.testing.assert_array_equal(
            np.sort(np.concatenate(seen)), np.sort(whole.targets["train"]["age"])
        )
        # At each step all processes together have the batch of one process with larger batches.
        orders = [part.order(epoch) for part in parts]
        step = np.concatenate([order[4:8] for order in orders])
        np.testing.assert_array_equal(step, whole.order(epoch)[4 * count : 8 * count])
    assert sum(len(part.order(0)) for part in parts) == total
    assert parts[0].only("age").shard == (0, count)
    printed = capsys.readouterr().out
    assert f"process 1 of {count} reads {len(parts[1].order(0))} of {total} training" in printed
    for wrong in ((count, count), (-1, 2), 3, (0, 0)):
        with pytest.raises(checks.InputError, match="`shard"):
            kt.data.from_records(folder, shard=wrong)


def test_the_rest_of_a_pass_is_what_would_have_come(folder):
    data = kt.data.from_records(folder)
    passes = [list(data.train) for _ in range(2)]
    for epoch, batch in ((0, 0), (1, 2)):
        for one, other in zip(data.rest(epoch, batch), passes[epoch][batch:], strict=True):
            np.testing.assert_array_equal(one[0], other[0])
            np.testing.assert_array_equal(one[1]["age"], other[1]["age"])
    assert data.epochs.next == 2


KILLED = """
import sys
import numpy as np
import keras_transfer as kt
from keras_transfer.data.records import writing
images = np.random.default_rng(0).integers(0, 256, (600, 8, 6, 3), np.uint8)
data = kt.data.from_arrays(images, np.arange(600) % 3)
place = writing.Folder(arguments[0])
place.make()
writing._Writer(data, place, limit=2000).write()
"""


def test_a_killed_writing_looks_unfinished_and_goes_on(tmp_path, fork, capsys):
    process = fork(KILLED, tmp_path / "killed")
    last = tmp_path / "killed" / "train-00009.index"
    while process.is_alive() and not last.exists():
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    with pytest.raises(
        checks.InputError, match="which was not finished. Call kt.data.write_records"
    ):
        kt.data.from_records(tmp_path / "killed")

    images = np.random.default_rng(0).integers(0, 256, (600, 8, 6, 3), np.uint8)
    data = kt.data.from_arrays(images, np.arange(600) % 3)
    whole, goes_on = (writing.Folder(tmp_path / name) for name in ("whole", "killed"))
    whole.make()
    capsys.readouterr()
    for place in (goes_on, whole):
        writing._Writer(data, place, limit=2000).write()
    assert "goes on in" in capsys.readouterr().out
    assert whole.names() == goes_on.names()
    assert all(whole.read(name) == goes_on.read(name) for name in whole.names())
    same(data, kt.data.from_records(tmp_path / "killed"))


def test_what_is_begun_with_other_data_starts_over(tmp_path, monkeypatch, capsys):
    place = writing.Folder(tmp_path)
    monkeypatch.setattr(writing._Writer, "_finish", lambda writer: None)
    writing._Writer(arrays(), place, limit=2000).write()
    monkeypatch.undo()
    data = arrays(count=40)
    capsys.readouterr()
    kt.data.write_records(data, tmp_path)
    assert "is of other data: starts over" in capsys.readouterr().out
    same(data, kt.data.from_records(tmp_path))


def test_nothing_of_others_is_written_over(folder, tmp_path):
    with pytest.raises(checks.InputError, match="must be a new folder.*overwrite=True"):
        kt.data.write_records(arrays(), folder)
    data = arrays(count=40)
    same(data, kt.data.from_records(kt.data.write_records(data, folder, overwrite=True)))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(checks.InputError, match="must hold nothing but records.*'thesis.txt'"):
        kt.data.write_records(arrays(), tmp_path / "mine", overwrite=True)
    batches = tf.data.Dataset.from_tensors((np.zeros((2, 8, 8, 3)), np.zeros(2)))
    with pytest.raises(checks.InputError, match="`data` must be arrays or come from kt.data"):
        kt.data.write_records(batches, tmp_path / "new")
    assert not (tmp_path / "new").exists()


class Stop(keras.callbacks.Callback):
    """Ends a run in the middle of an epoch, as a kill would."""

    def __init__(self, epoch, batch):
        super().__init__()
        self.at = (epoch, batch)

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.at:
            raise KeyboardInterrupt


def test_training_on_records_goes_on_to_the_same_bits(tmp_path):
    images, labels = RNG.integers(0, 256, (30, 32, 32, 3), np.uint8), np.arange(30) % 3
    data = kt.data.from_arrays(images, labels, batch_size=4)
    folder = kt.data.write_records(data, tmp_path / "records")

    def train(source, run, callbacks=(), **options):
        keras.utils.set_random_seed(0)
        model = kt.build_model(small(), kt.tasks.Classification(3))
        kt.fine_tune(
            model, source, epochs=(1, 1), unfreeze="block4*", cache="off", callbacks=callbacks, seed=0,
            run_dir=tmp_path / run, verbose=0, **options,
        )  # fmt: skip
        return model

    expected = train(data, "arrays").get_weights()
    with pytest.raises(KeyboardInterrupt):
        train(kt.data.from_records(folder), "killed", [Stop(1, 3)])
    model = train(kt.data.from_records(folder), "killed", resume=True)
    for value, other in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_array_equal(value, other)


def test_memory_does_not_grow_with_the_images(tmp_path):
    peaks = []
    for count in (400, 2000):
        images = RNG.integers(0, 256, (count, 16, 16, 3), np.uint8)
        folder = kt.data.write_records(
            kt.data.from_arrays(images, np.arange(count) % 3), tmp_path / str(count)
        )
        tracemalloc.start()
        try:
            for _ in kt.data.from_records(folder).train:
                pass
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert (peaks[1] - peaks[0]) / 1600 < 150  # bytes an example; its pixels are 768


def damage(content, draw):
    """Changes, cuts, repeats or empties a file."""
    way, at = draw.integers(5), int(draw.integers(max(1, len(content))))
    if way == 0:
        return content[:at] + bytes([draw.integers(256)]) + content[at + 1 :]
    if way == 1:
        return content[:at]
    if way == 2:
        return content[:at] + content[at // 2 :]
    if way == 3:
        return content[:at] + draw.bytes(20) + content[at + 20 :]
    return b""


def read_all(folder):
    data = kt.data.from_records(folder)
    for split, examples in data.examples.items():
        examples.pixels.read(examples.rows, data.image_size, data.channels)
        assert len(data.targets[split]["kind"]) == len(examples)
    return data


def content_of(folder):
    data = read_all(folder)
    batches = [tf.nest.flatten(batch) for split in data.examples for batch in data.ordered(split)]
    return data.summary(), [part.numpy().tobytes() for batch in batches for part in batch]


def test_records_that_were_changed_are_refused(folder, tmp_path):
    names, draw = sorted(os.listdir(folder)), np.random.default_rng(1)
    rightly = content_of(folder)
    for _ in range(150):
        name = names[draw.integers(len(names))]
        path = os.path.join(folder, name)
        with open(path, "rb") as file:
            content = file.read()
        changed = damage(content, draw)
        with open(path, "wb") as file:
            file.write(changed)
        started = time.process_time()
        try:
            read_all(folder)
        except checks.InputError:
            pass
        else:  # what is read twice in a JSON file, or stands in a frame of TFRecord's own
            assert content_of(folder) == rightly
        assert time.process_time() - started < 5
        with open(path, "wb") as file:
            file.write(content)


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content["shards"][0].update(name="../../etc/passwd"),
        lambda content: content["shards"][0].update(name="train-00000/../../x"),
        lambda content: content["shards"][0].update(count=10**15),
        lambda content: content["shards"][0].update(size=10**15),
        lambda content: content["columns"][0].update(file="../column-0.bin"),
        lambda content: content["columns"][0].update(shape=[10**6, 10**6]),
        lambda content: content["columns"][0].update(dtype="object"),
        lambda content: content["columns"][0].update(shape=[-1]),
        lambda content: content["columns"].pop(0),
        lambda content: content["image"].update(size=[60_000, 60_000]),
        lambda content: content["image"].update(size=[0, 8]),
        lambda content: content["image"].update(channels=True),
        lambda content: content.update(class_names={"kind": ["a"]}),
        lambda content: content.update(class_names=7),
        lambda content: content.update(batch_size=0),
        lambda content: content.update(sampling={"sampling": "equal"}),
        lambda content: content.update(format=2),
        lambda content: content.update(counts={"train": 48, "elsewhere": 1}),
        lambda content: content.update(shards=[]),
        lambda content: content.update(shards={"a": []}),
        lambda content: content.update(notes=[{}]),
    ],
)
def test_an_index_with_values_that_cannot_be_is_refused(folder, change):
    """The checksum is right: somebody meant it."""
    path = os.path.join(folder, "records.json")
    with open(path) as file:
        content = json.load(file)
    change(content)
    content["check"] = index._check_of(content)
    with open(path, "w") as file:
        json.dump(content, file)
    with pytest.raises(checks.InputError) as refused:
        read_all(folder)
    assert len(str(refused.value)) < 400


def test_masks_boxes_and_images_are_read_with_their_records(tmp_path, monkeypatch):
    monkeypatch.setattr(
        writing, "BESIDE", 100
    )  # a mask of 8 x 6 counts as small, an image as large
    count = 12
    images = RNG.integers(0, 256, (count, 8, 6, 3), np.uint8)
    files = [tmp_path / f"{at}.png" for at in range(count)]
    for file in files:
        file.write_bytes(tf.io.encode_png(RNG.integers(0, 3, (8, 6, 1), np.uint8)).numpy())
    labels = {
        "area": [None, *RNG.integers(0, 3, (count - 1, 8, 6))],
        "file": [*files[:-1], None],
        "picture": RNG.integers(0, 256, (count, 8, 6, 3), np.uint8),
        "box": [
            {"boxes": [[0, 0, at % 4 + 1, 5]], "labels": ["a" if at % 2 else "b"]}
            for at in range(count)
        ],
        "kind": ["x", "y"] * (count // 2),
    }
    kinds = {"area": "mask", "file": "mask", "picture": "image", "box": "boxes"}
    names = {"area": list("abc"), "file": list("abc")}
    data = kt.data.from_arrays(images, labels, targets=kinds, class_names=names, batch_size=5)
    back = kt.data.from_records(kt.data.write_records(data, tmp_path / "records"))
    same(data, back)
    same(data.joined(), back.joined())
    same(data.only("file"), back.only("file"))
    same(data, kt.data.from_records(kt.data.write_records(back, tmp_path / "again")))
