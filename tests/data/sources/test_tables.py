import csv
import io
import os
import pathlib
import re

import numpy as np
import pytest
from errors import told
from PIL import Image

import keras_transfer as kt
from keras_transfer.core import checks

COUNT = 12
SETTINGS = {"image_size": 8, "validation": None}


def picture(seed, size=(10, 16)):
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def photos(tmp_path):
    (tmp_path / "photos").mkdir()
    for at in range(COUNT):
        (tmp_path / "photos" / f"{at}.png").write_bytes(picture(at))
    return tmp_path


def rows_of(count=COUNT, **columns):
    """A list of dicts; functions of the row's number make the cells."""
    rows = []
    for at in range(count):
        row = {"file": f"photos/{at}.png", "breed": ("cat", "dog", "emu")[at % 3]}
        rows.append({**row, **{name: make(at) for name, make in columns.items()}})
    return rows


def write(path, rows, **options):
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), **options)
        writer.writeheader()
        writer.writerows(rows)
    return path


TARGETS = {"breed": "category", "age": "number", "tags": "tags"}


def mixed_rows():
    return rows_of(
        age=lambda at: "" if at == 4 else at / 2,
        tags=lambda at: ("red;big", ";", "", "big")[at % 4],
    )


def test_a_table_gives_what_its_arrays_give(photos):
    """The same labels by hand, through `from_arrays`."""
    rows = mixed_rows()
    data = kt.data.from_csv(
        write(photos / "labels.csv", rows), image="file", targets=TARGETS, **SETTINGS
    )
    images = kt.data.load_images([photos / row["file"] for row in rows], 8)
    labels = {
        "breed": [row["breed"] for row in rows],
        "age": np.array([np.nan if row["age"] == "" else row["age"] for row in rows]),
        "tags": kt.data.split_tags([row["tags"] for row in rows]),
    }
    expected = kt.data.from_arrays(images, labels, validation=None)
    assert data.class_names == expected.class_names
    assert data.files["train"] == [str(photos / row["file"]) for row in rows]
    for mine, theirs in zip(data.ordered("train"), expected.ordered("train"), strict=True):
        np.testing.assert_array_equal(mine[0], theirs[0])
        for name in TARGETS:
            np.testing.assert_array_equal(mine[1][name], theirs[1][name])
            np.testing.assert_array_equal(mine[2][name], theirs[2][name])


def test_the_form_of_the_table_does_not_matter(photos, monkeypatch):
    pandas = pytest.importorskip("pandas")
    rows = mixed_rows()
    options = {"image": "file", "targets": TARGETS, "root": photos, **SETTINGS}
    tables = [
        write(photos / "a.csv", rows),
        write(photos / "b.csv", rows, delimiter=";"),
        rows,
        pandas.DataFrame(rows).replace("", None),
    ]
    found = [kt.data.from_csv(table, **options) for table in tables]
    assert len({data.digest for data in found}) == 1
    monkeypatch.chdir(photos)
    del options["root"]
    assert kt.data.from_csv(rows, **options).digest == found[0].digest


def test_columns_say_split_and_group(photos):
    rows = rows_of(
        part=lambda at: ("Train", "train", "train", "val", "test", "train")[at % 6],
        patient=lambda at: f"p{at % 6}",
    )
    options = {"image": "file", "targets": {"breed": "category"}, "root": photos, "image_size": 8}
    data = kt.data.from_csv(rows, **options, split="part", group="patient")
    sizes = {split: len(files) for split, files in data.files.items()}
    assert sizes == {"train": 8, "validation": 2, "test": 2}
    assert sorted(map(os.path.basename, data.files["test"])) == ["10.png", "4.png"]

    both = [*rows[:-1], {**rows[-1], "patient": "p3"}]
    told(
        lambda: kt.data.from_csv(both, **options, split="part", group="patient"),
        "each `group` must be in one split. Given: 'p3' in ",
    )
    told(
        lambda: kt.data.from_csv(rows, **options, split="part", validation=0.5),
        "`validation` must not be given twice",
    )
    held = [{**row, "part": "test"} for row in rows]
    told(
        lambda: kt.data.from_csv(held, **options, split="part"),
        "`table` must have rows to train on. Given: none in the column 'part'",
    )
    wrong = [{**row, "part": "trian"} for row in rows]
    told(
        lambda: kt.data.from_csv(wrong, **options, split="part"),
        "12 rows are not: row 0 (part is 'trian', not train, validation or test)",
    )
    grouped = kt.data.from_csv(rows, **options, group="patient", validation=0.34)
    numbers = {
        split: {int(pathlib.Path(name).stem) % 6 for name in names}
        for split, names in grouped.files.items()
    }
    assert set(numbers) == {"train", "validation"}
    assert not numbers["train"] & numbers["validation"]


def test_all_bad_rows_are_told_by_line_or_left_out(photos, capsys):
    rows = rows_of(age=lambda at: at)
    rows[1]["age"] = "old"
    rows[2]["file"] = "photos/absent.png"
    rows[3]["file"] = "../elsewhere.png"
    rows[4]["file"] = "/etc/hostname"
    rows[5]["file"] = "photos/0.png"
    rows[6]["file"] = ""
    path = write(photos / "labels.csv", rows)
    path.write_text(path.read_text() + "photos/11.png\n")
    options = {"image": "file", "targets": {"breed": "category", "age": "number"}, **SETTINGS}
    message = told(lambda: kt.data.from_csv(path, **options), "7 rows are not: ", " and 2 more. ")
    reasons = [
        "line 14 (1 cell for 3 columns)", "line 8 (the name of the image is blank)",
        f"line 4 (there is no file '{photos}/photos/absent.png')", "line 5 ('../elsewhere.png' is no path inside",
        "line 6 ('/etc/hostname' is no path inside",
    ]  # fmt: skip
    for reason in reasons:
        assert reason in message
    few = [rows[0], rows[1], rows[5]]
    write(photos / "few.csv", few)
    told(
        lambda: kt.data.from_csv(photos / "few.csv", **options),
        "2 rows are not: ",
        "line 3 (age: 'old' is no number)",
        "line 4 (the same image as in line 2)",
    )

    capsys.readouterr()
    data = kt.data.from_csv(path, **options, corrupt="skip")
    assert sorted(int(pathlib.Path(name).stem) for name in data.files["train"]) == [7, 8, 9, 10, 11]
    assert "skipped 7 rows of" in capsys.readouterr().out


def test_images_may_be_named_by_a_pattern(photos):
    rows = [{"id": at, "breed": "cat" if at % 2 else "dog"} for at in range(4)]
    options = {"targets": {"breed": "category"}, "root": photos, **SETTINGS}
    data = kt.data.from_csv(rows, image="photos/{id}.png", **options)
    assert data.files["train"] == [str(photos / "photos" / f"{at}.png") for at in range(4)]
    told(
        lambda: kt.data.from_csv(rows, image="photos/{nr}.png", **options),
        "`image` must be a column",
        "'nr'",
    )
    windows = [{"file": f"photos\\{at}.png", "breed": row["breed"]} for at, row in enumerate(rows)]
    data = kt.data.from_csv(windows, image="file", **options)
    assert len(data.files["train"]) == 4


def test_images_as_targets_are_read_from_their_files(photos):
    depths = np.random.default_rng(0).random((4, 10, 16)).astype(np.float32)
    rows = []
    for at, values in enumerate(depths):
        np.save(photos / f"{at}.npy", values)
        rows.append({"file": f"photos/{at}.png", "far": f"{at}.npy" if at else ""})
    options = {"image": "file", "targets": {"far": "image"}, "root": photos, "validation": None}
    data = kt.data.from_csv(rows, **options, image_size=(10, 16))
    _, targets, weights = next(iter(data.ordered("train")))
    np.testing.assert_array_equal(targets["far"][1:, ..., 0], depths[1:])
    assert weights["far"].numpy().tolist() == [0, 1, 1, 1]


def test_names_of_classes_are_numbers_in_their_order(photos):
    rows = rows_of(kind=lambda at: (10, 9, 2)[at % 3])
    data = kt.data.from_csv(
        rows, image="file", targets={"kind": "category"}, root=photos, **SETTINGS
    )
    assert data.class_names == {"kind": ["2", "9", "10"]}
    chosen = {"kind": {"category": "kind", "classes": ["10", "9", "2"]}}
    data = kt.data.from_csv(rows, image="file", targets=chosen, root=photos, **SETTINGS)
    assert data.class_names == {"kind": ["10", "9", "2"]}
    assert data.targets["train"]["kind"].tolist() == [0, 1, 2] * 4


def test_several_rows_of_an_image_are_its_boxes_and_agree_on_all_else(photos):
    corners = ((2, 1, 10, 6), (0, 0, 16, 10), (4, 5, 8, 10))
    rows = []
    for at, name in enumerate(("0", "1", "0")):
        box = dict(zip(("x1", "y1", "x2", "y2"), corners[at], strict=True))
        rows.append(
            {
                "file": f"photos/{name}.png",
                "kind": "ab"[at % 2],
                "scene": f"s{name}",
                "part": "train",
                **box,
            }
        )
    targets = {
        "scene": "category", "box": {"boxes": ["x1", "y1", "x2", "y2"], "label": "kind"},
    }  # fmt: skip
    options = {"image": "file", "targets": targets, "split": "part", "root": photos, **SETTINGS}
    data = kt.data.from_csv(rows, **options)
    none = [0, 0, 0, 0, -1, 0]
    scale = np.array([0.5, 0.8, 0.5, 0.8])
    found = data.targets["train"]["box"]
    np.testing.assert_allclose(found[0, :, :4], [corners[0] * scale, corners[2] * scale], rtol=1e-6)
    np.testing.assert_allclose(found[1], [[0, 0, 8, 8, 1, 0], none], rtol=1e-6)
    assert data.targets["train"]["scene"].tolist() == [0, 1]

    told(
        lambda: kt.data.from_csv([*rows[:2], {**rows[2], "scene": "s1"}], **options),
        "1 row is not: row 2 (scene 's1', but 's0' in row 0)",
    )
    told(
        lambda: kt.data.from_csv([*rows[:2], {**rows[2], "part": "test"}], **options),
        "1 row is not: row 2 (part 'test', but 'train' in row 0)",
    )
    told(
        lambda: kt.data.from_csv([*rows[:2], {**rows[2], "x2": 90}], **options),
        "photos/0.png (row 0): box 1 [4, 5, 90, 10] lies outside its picture of 16 x 10 pixels",
    )
    shares = []
    for row in rows:
        sides = {"x1": 16, "y1": 10, "x2": 16, "y2": 10}
        shares.append({**row, **{name: row[name] / side for name, side in sides.items()}})
    targets = {**targets, "box": {**targets["box"], "relative": True}}
    again = kt.data.from_csv(shares, **{**options, "targets": targets})
    np.testing.assert_allclose(again.targets["train"]["box"], found, rtol=1e-6)


def test_unreadable_files_are_told_with_their_lines(photos):
    (photos / "photos" / "3.png").write_bytes(b"no image")
    rows = rows_of()
    options = {"image": "file", "targets": {"breed": "category"}, "root": photos, **SETTINGS}
    told(
        lambda: kt.data.from_csv(rows, **options), "photos/3.png (row 3) (the bytes are not a JPEG"
    )
    data = kt.data.from_csv(rows, **options, corrupt="skip")
    assert len(data.files["train"]) == COUNT - 1


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"image": "fiel"}, "`image` must be a column of the list of dicts. Given: 'fiel'. Close names: 'file'."),
        ({"split": "part"}, "`split` must be a column of the list of dicts. Given: 'part'."),
        ({"group": "patient"}, "`group` must be a column of the list of dicts. Given: 'patient'."),
        ({"root": "absent"}, "`root` must be a folder that exists"),
        ({"cache": "disk"}, "`cache` must be one of"),
        ({"test": 0.9, "validation": 0.2}, "`validation` and `test` together must be below 1"),
        ({"targets": {"breed": "box"}}, "`targets['breed']` must be a known name"),
    ],
)  # fmt: skip
def test_arguments_are_checked(photos, arguments, expected):
    options = {"image": "file", "targets": {"breed": "category"}, "root": photos, **SETTINGS}
    with pytest.raises(checks.InputError, match=re.escape(expected)):
        kt.data.from_csv(rows_of(), **{**options, **arguments})


@pytest.mark.realdata
def test_pacs_small_by_its_table():
    folder = pathlib.Path(os.environ["KERAS_TRANSFER_DATA"]) / "pacs_small"
    targets = {"class": "category", "domain": "category"}
    data = kt.data.from_csv(
        folder / "index.csv",
        image="file",
        targets=targets,
        split="split",
        image_size=32,
        validation=None,
    )
    assert {split: len(files) for split, files in data.files.items()} == {"train": 560, "test": 336}
    assert data.class_names["domain"] == ["art_painting", "cartoon", "photo", "sketch"]
    for name, count in (("class", 7), ("domain", 4)):
        np.testing.assert_array_equal(
            np.bincount(data.targets["train"][name]), [560 // count] * count
        )
        np.testing.assert_array_equal(
            np.bincount(data.targets["test"][name]), [336 // count] * count
        )


@pytest.mark.realdata
def test_pets3_with_four_targets():
    folder = pathlib.Path(os.environ["KERAS_TRANSFER_DATA"]) / "pets3"
    targets = {
        "breed": "category",
        "species": "category",
        "head": {"boxes": ["xmin", "ymin", "xmax", "ymax"], "label": "species"},
        "mask": {"mask": "trimaps/{id}.png", "classes": {"pet": 1, "background": 2, "border": 3}},
    }
    columns = {"image": "images/{id}.jpg", "targets": targets, "split": "split"}
    data = kt.data.from_csv(folder / "index.csv", **columns, image_size=32, validation=None)
    assert {split: len(files) for split, files in data.files.items()} == {"train": 132, "test": 66}
    found = data.targets["train"]
    assert np.bincount(found["breed"]).tolist() == [44, 44, 44]
    assert np.bincount(found["species"]).tolist() == [88, 44]
    with open(folder / "index.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "train"]
    for row, box in zip(rows, found["head"], strict=True):
        sides = [int(row["width"]), int(row["height"])] * 2
        corners = [int(row[name]) for name in ("xmin", "ymin", "xmax", "ymax")]
        np.testing.assert_allclose(box[0, :4], 32 * np.array(corners) / sides, rtol=1e-5)
        assert data.class_names["head"][int(box[0, 4])] == row["species"]
    assert set(np.unique(np.asarray(found["mask"]))) == {0, 1, 2}
