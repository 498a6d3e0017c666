"""Damaged tables, annotations and masks: the package's error or a right load, in little time and memory.

KERAS_TRANSFER_MUTATIONS=3000 runs as many instead of the few that every run has.
"""

import contextlib
import io
import json
import os
import re
import resource
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image

import keras_transfer as kt
from keras_transfer.core import checks, labelled

COUNT = int(os.environ.get("KERAS_TRANSFER_MUTATIONS", "150"))
SECONDS, MEMORY = 10.0, 300e6
KEPT = 0.1e6  # of each load TensorFlow keeps what it traced
HEIGHT, WIDTH = 12, 16
NAMES = ("a", "b", "c")
ODD = [
    "", "nan", "-1", "1e309", "99999999999999999999", "0", "x", "[]", "null", "../../etc/passwd", "/dev/zero", "\x00",
    "é", "&lol;", "1e-320", "true", '"', "a" * 5000, "{}", "-0.5", "*x", "!!python/name:os.system", ",", ";", "<",
    "\ufeff",
]  # fmt: skip
TOKEN = re.compile(r"[\w.+-]+")


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def picture(seed):
    rng = np.random.default_rng(seed)
    return png(rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8))


def mask(seed):
    rng = np.random.default_rng(seed)
    return png(rng.integers(0, 2, (HEIGHT, WIDTH), dtype=np.uint8))


def voc(name):
    box = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>9</xmax><ymax>11</ymax></bndbox>"
    item = f"<object><name>{'cat' if name == 'a' else 'dog'}</name>{box}</object>"
    return f"<annotation><size><width>16</width><height>12</height></size>{item}{item}</annotation>"


def coco():
    rows = []
    for number in range(4):
        box = [1, 2, 3 + number, 4]
        rows.append({"id": number, "image_id": number % 3, "category_id": number % 2, "bbox": box})
    return json.dumps(
        {
            "images": [{"id": at, "file_name": f"{name}.png"} for at, name in enumerate(NAMES)],
            "categories": [{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}],
            "annotations": rows,
        }
    )


TABLE = """file,breed,age,tags,x1,y1,x2,y2,mask,depth,part
a.png,cat,1.5,red;big,1,2,3,4,masks/a.png,depth/a.png,train
b.png,dog,,;,5,6,7,8,masks/b.png,depth/b.png,train
c.png,cat,2.5,,,,,,,,val
"""
TARGETS = {
    "breed": "category", "age": "number", "tags": "tags", "mask": {"mask": "mask", "classes": ["ground", "sky"]},
    "box": {"boxes": ["x1", "y1", "x2", "y2"], "label": "breed"}, "depth": "image",
}  # fmt: skip


def write(root):
    """Writes a small set of each kind; returns its loader and the files that are mutated."""
    for name in NAMES:
        (root / f"{name}.png").write_bytes(picture(ord(name)))
        for folder in ("masks", "images", "labels", "depth"):
            (root / folder).mkdir(exist_ok=True)
        depths = np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH)
        (root / "depth" / f"{name}.png").write_bytes(png(depths * 300))
        (root / "masks" / f"{name}.png").write_bytes(mask(ord(name)))
        (root / "images" / f"{name}.png").write_bytes(picture(ord(name)))
        (root / "labels" / f"{name}.txt").write_text("0 0.5 0.5 0.25 0.5\n1 0.25 0.25 0.5 0.5\n")
        (root / "images" / f"{name}.xml").write_text(voc(name))
    np.save(root / "masks" / "a.npy", np.zeros((HEIGHT, WIDTH), np.uint8))
    (root / "masks" / "a.png").unlink()
    (root / "labels.csv").write_text(TABLE.replace("masks/a.png", "masks/a.npy"))
    (root / "instances.json").write_text(coco())
    (root / "data.yaml").write_text("train: images\nnames: {0: cat, 1: dog}\n")


def loaders(root):
    common = {"image_size": 8, "validation": None}
    names = {"classes": ["ground", "sky"], **common}
    pictures = root / "images"
    table = {"image": "file", "targets": TARGETS, "split": "part", **common}
    masks = root / "masks"
    return [
        ("labels.csv", lambda **more: kt.data.from_csv(root / "labels.csv", **table, **more)),
        ("instances.json", lambda **more: kt.data.from_coco(root / "instances.json", images=root, **common, **more)),
        ("images/b.xml", lambda **more: kt.data.from_voc(root / "images", **common, **more)),
        ("labels/b.txt", lambda **more: kt.data.from_yolo(root / "data.yaml", **common, **more)),
        ("data.yaml", lambda **more: kt.data.from_yolo(root / "data.yaml", **common, **more)),
        ("masks/b.png", lambda **more: kt.data.from_masks(pictures, masks, **names, **more)),
        ("masks/a.npy", lambda **more: kt.data.from_masks(pictures, masks, **names, **more)),
        ("images/b.png", lambda **more: kt.data.from_masks(pictures, masks, **names, **more)),
        ("images/a.png", lambda **more: kt.data.from_voc(root / "images", **common, **more)),
        ("depth/b.png", lambda **more: kt.data.from_csv(root / "labels.csv", **table, **more)),
    ]  # fmt: skip


def mutate(content, rng, is_text):
    for _ in range(rng.integers(1, 4)):
        content = (
            mutate_text(content, rng)
            if is_text and rng.random() < 0.7
            else mutate_bytes(content, rng)
        )
    return content


def mutate_text(content, rng):
    """Puts something odd in the place of a word, or a line into another place."""
    text = content.decode("latin-1")
    words = list(TOKEN.finditer(text))
    if not words or rng.random() < 0.2:
        lines = text.splitlines(keepends=True) or [""]
        lines.insert(rng.integers(0, len(lines) + 1), lines[rng.integers(0, len(lines))])
        return "".join(lines).encode("latin-1")
    word = words[rng.integers(0, len(words))]
    odd = (
        ODD[rng.integers(0, len(ODD))]
        if rng.random() < 0.7
        else words[rng.integers(0, len(words))][0]
    )
    return (
        text[: word.start()].encode("latin-1") + odd.encode() + text[word.end() :].encode("latin-1")
    )


def mutate_bytes(content, rng):
    """Cuts, repeats, or changes bytes; of a PNG file sometimes its header, with the right sum."""
    if content.startswith(b"\x89PNG") and len(content) > 33 and rng.random() < 0.4:
        head = bytearray(content[12:29])
        at = rng.integers(4, 17)
        head[at] = rng.integers(0, 256)
        if rng.random() < 0.5:
            head[4:12] = struct.pack(">II", *rng.integers(1, 2**31, 2))
        return content[:12] + bytes(head) + struct.pack(">I", zlib.crc32(head)) + content[33:]
    at = int(rng.integers(0, len(content) + 1))
    kind = rng.integers(0, 4)
    if kind == 0:
        return content[:at]
    if kind == 1:
        return content[:at] + content[max(0, at - int(rng.integers(1, 200))) :]
    noise = rng.integers(0, 256, rng.integers(1, 5), dtype=np.uint8).tobytes()
    return content[:at] + noise + content[at + (len(noise) if kind == 2 else 0) :]


def check_right(data):
    """Asserts what every load, and every batch that training gets, must hold."""
    for images, *_ in data.train:
        assert images.shape[1:] == (8, 8, 3)
    for split, targets in data.targets.items():
        for key, column in labelled.by_task(targets).items():
            names = labelled.of_task(data.class_names, key) if key else data.class_names
            values = np.asarray(column)
            assert len(values) == len(data.files[split])
            assert np.isfinite(values.astype(float)).all()
            if values.ndim == 3 and values.dtype.kind == "f":
                boxes = values[values[..., 4] >= 0]
                assert (boxes[:, :4] >= 0).all()
                assert (boxes[:, :4] <= 8.001).all()
                assert (boxes[:, 2:4] > boxes[:, :2]).all()
                assert (boxes[:, 4] < len(names)).all()
            elif values.ndim == 3:
                assert ((values < len(names)) | (values == 255)).all()
            elif values.dtype.kind == "i":
                assert (values < len(names)).all()


@pytest.mark.skipif(
    not os.path.exists("/proc/self/status"), reason="peak memory is read from Linux"
)
def test_damaged_files_give_an_error_or_a_right_load(tmp_path):
    write(tmp_path)
    sources = loaders(tmp_path)
    with contextlib.redirect_stdout(io.StringIO()):
        for _, load in sources:
            check_right(load())
    rng = np.random.default_rng(0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    loaded, refused, lines, longest = 0, 0, 0, (0.0, "")
    for number in range(COUNT):
        name, load = sources[number % len(sources)]
        path = tmp_path / name
        whole = path.read_bytes()
        path.write_bytes(mutate(whole, rng, path.suffix not in (".png", ".npy")))
        start = time.monotonic()
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                turn = number // len(sources)
                cache = ("auto", "off")[turn // 2 % 2]  # in memory, or read in every pass
                check_right(load(corrupt=("error", "skip")[turn % 2], cache=cache))
            loaded += 1
        except checks.InputError as told:
            lines += str(told).count("\n")
            refused += 1
        except BaseException:
            print(f"mutation {number} of {name}: {path.read_bytes()[:2000]!r}")
            raise
        finally:
            path.write_bytes(whole)
        longest = max(longest, (time.monotonic() - start, f"{number} of {name}"))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    print(f"{COUNT} mutations: {loaded} loaded, {refused} refused; {grown / 1e6:.0f} MB more")
    print(f"the longest took {longest[0]:.2f} s: {longest[1]}")
    assert longest[0] < SECONDS
    assert grown < MEMORY + COUNT * KEPT
    assert lines == 0  # every error is one line
    assert min(loaded, refused) > COUNT / 10
