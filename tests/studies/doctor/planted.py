"""A clean made-up folder of photos, and the faults that are planted in it."""

import io
import struct
import zlib

import numpy as np
from PIL import Image, ImageFilter

SIDE = 64


def photo(seed, side=SIDE, tint=None):
    """A colourful picture with large shapes and fine texture, like no other."""
    rng = np.random.default_rng(seed)
    shapes = Image.fromarray(rng.integers(30, 226, (5, 5, 3), dtype=np.uint8))
    large = np.asarray(shapes.resize((side, side), Image.Resampling.BICUBIC), "float64")
    pixels = large + rng.normal(0, 18, (side, side, 3))
    if tint is not None:
        pixels = 0.3 * pixels + 0.7 * np.array(tint)
    return Image.fromarray(np.clip(pixels, 0, 255).astype("uint8"))


def make_clean(root, splits=("train", "test"), classes=("cat", "dog"), each=12):
    seed = 0
    for split in splits:
        for name in classes:
            folder = root / split / name
            folder.mkdir(parents=True)
            for at in range(each):
                seed += 1
                photo(seed).save(folder / f"{at}.png")
    return root


def save_png_header(file, width, height):
    """A PNG of that size whose data is missing: less than 100 bytes."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + head
    crc = struct.pack(">I", zlib.crc32(chunk))
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + crc)


def jpeg(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, "jpeg", **options)
    return buffer.getvalue()


def make_dirty(root):
    """Plants faults; returns the files of each by check, several sets where a check tells several things apart."""
    make_clean(root)
    cat, dog, test = root / "train/cat", root / "train/dog", root / "test"

    (cat / "cut.jpg").write_bytes(jpeg(photo(900))[:700])
    (cat / "empty.png").write_bytes(b"")
    (dog / "text.jpg").write_text("no image")
    save_png_header(dog / "bomb.png", 50_000, 50_000)

    photo(901).save(cat / "twin_a.png")
    photo(901).save(cat / "twin_b.png")
    photo(902).save(cat / "torn.png")
    photo(902).save(dog / "torn.png")
    photo(903).save(cat / "leak.png")
    photo(903).save(test / "cat/leak.png")
    photo(904).save(cat / "near.png")
    (cat / "near.jpg").write_bytes(jpeg(photo(904).resize((48, 48)), quality=40))
    photo(905).save(dog / "seen.png")
    (test / "dog/seen.jpg").write_bytes(jpeg(photo(905), quality=60))

    for at in range(3):
        file = root / f"train/emu/{at}.png"
        file.parent.mkdir(exist_ok=True)
        photo(910 + at).save(file)
        file = root / f"test/emu/{at}.png"
        file.parent.mkdir(exist_ok=True)
        photo(913 + at).save(file)
    (root / "train/yak").mkdir()
    (root / "test/cow").mkdir()
    photo(916).save(root / "test/cow/0.png")
    (root / "train/cat/notes.txt").write_text("mine")

    photo(920, 640).resize((640, 40)).save(cat / "long.png")
    photo(921, 12).save(cat / "small.png")
    Image.fromarray(np.asarray(photo(922)) // 5).save(cat / "dark.png")
    Image.fromarray(255 - (255 - np.asarray(photo(923))) // 5).save(cat / "bright.png")
    Image.new("RGB", (SIDE, SIDE), (90, 120, 60)).save(dog / "even.png")
    photo(924, 256).filter(ImageFilter.GaussianBlur(6)).save(dog / "blurred.png")
    photo(925).convert("L").save(dog / "grey.png")

    return {
        "unreadable": [{"train/cat/cut.jpg", "train/cat/empty.png", "train/dog/text.jpg", "train/dog/bomb.png"}],
        "copies": [
            {"train/cat/leak.png", "test/cat/leak.png"},
            {"train/cat/torn.png", "train/dog/torn.png"},
            {"train/cat/twin_a.png", "train/cat/twin_b.png"},
            {"train/dog/seen.png", "test/dog/seen.jpg"},
            {"train/cat/near.png", "train/cat/near.jpg"},
        ],
        "sizes": [{"train/cat/long.png"}, {"train/cat/small.png"}],
        "dark": [{"train/cat/dark.png"}],
        "bright": [{"train/cat/bright.png"}],
        "even": [{"train/dog/even.png"}],
        "blurred": [{"train/dog/blurred.png"}],
        "grey": [{"train/dog/grey.png"}],
        "layout": [{"train/cat/notes.txt"}, set()],
        "few": [set(), set()],
    }  # fmt: skip
