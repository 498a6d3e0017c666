"""Images of other sensors: 16 bits, floats, and several files as the channels of one image."""

import numpy as np
import pytest
from PIL import Image

import keras_transfer as kt
from keras_transfer import data
from keras_transfer.core import checks
from keras_transfer.machine import memory

COUNT = 6
HEATS = np.random.default_rng(0).integers(0, 65536, (COUNT, 8, 8)).astype(np.uint16)
HEATS[0, 0, :2] = 0, 65535
COLOURS = np.random.default_rng(1).integers(0, 256, (COUNT, 8, 8, 3), np.uint8)


def write(values, path):
    if path.suffix == ".npy":
        np.save(path, values)
    else:
        Image.fromarray(values).save(path)


@pytest.fixture
def scenes(tmp_path):
    """A picture, and the same heats in four formats, of each scene."""
    rows = []
    for number, (heat, colour) in enumerate(zip(HEATS, COLOURS, strict=True)):
        row = {"rgb": f"{number}.png", "kind": "ab"[number % 2], "weight": number / 4}
        write(colour, tmp_path / row["rgb"])
        for form in ("png", "tif", "npy"):
            row[form] = f"heat{number}.{form}"
            write(heat, tmp_path / row[form])
        row["float"] = f"float{number}.tiff"
        write(heat.astype(np.float32), tmp_path / row["float"])
        rows.append(row)
    return rows, {"root": tmp_path, "targets": {"weight": "number"}, "image_size": 8}


def pixels_of(found):
    """All pixels in the order of the rows, which `weight` tells."""
    parts = []
    for split, part in found.examples.items():
        order = zip(found.targets[split]["weight"], part.pixels.numpy()[part.rows], strict=True)
        parts += list(order)
    return np.array([pixels for _, pixels in sorted(parts, key=lambda pair: pair[0])])


@pytest.mark.parametrize("form", ["png", "tif", "npy", "float"])
def test_values_of_16_bits_are_kept_in_every_format(scenes, form, capsys):
    rows, options = scenes
    found = data.from_csv(rows, image=form, value_range=(0, 65535), **options)
    assert found.channels == 1
    expected = HEATS[..., None].astype(np.float64) * 255 / 65535
    np.testing.assert_allclose(pixels_of(found), expected, rtol=1e-6, atol=1e-5)
    assert (
        "the images have 1 channel: make the backbone with `channels=1`" in capsys.readouterr().out
    )


def test_columns_become_channels_and_a_measured_range_is_told(scenes, capsys):
    rows, options = scenes
    found = data.from_csv(rows, image=["rgb", "tif"], group="kind", **options)
    taken = pixels_of(found)
    np.testing.assert_array_equal(taken[..., :3], COLOURS)
    np.testing.assert_allclose(taken[..., 3], HEATS * (255 / 65535), rtol=1e-6, atol=1e-5)
    line = "values 0 to 65535 of 'tif', as measured, become 0 to 255: value_range=(0, 65535)"
    assert line in capsys.readouterr().out
    stacks = [(options["root"] / row["rgb"], options["root"] / row["tif"]) for row in rows]
    again = data.load_stacks(stacks, 8, value_range=[None, (0, 65535)])
    np.testing.assert_array_equal(again, taken)


def test_files_without_a_picture_of_their_own_are_measured(scenes, capsys):
    rows, options = scenes
    found = data.from_csv(rows, image="npy", **options)
    assert found.channels == 1
    assert "as measured" in capsys.readouterr().out
    data.from_csv(rows, image="png", **options)
    assert "values of 16 bits, as in heat0.png" in capsys.readouterr().out


def test_a_range_by_column_cuts_off_what_lies_outside(scenes, capsys):
    rows, options = scenes
    found = data.from_csv(rows, image=["tif"], value_range={"tif": (100, 1000)}, **options)
    expected = np.clip((HEATS.astype(np.float64) - 100) * 255 / 900, 0, 255)
    np.testing.assert_allclose(pixels_of(found)[..., 0], expected, rtol=1e-5, atol=1e-4)
    assert "values 0 to 65535 of 'tif' are cut off at 100 and 1000" in capsys.readouterr().out


def test_folders_hold_them_too_and_a_backbone_takes_them(tmp_path):
    for number, heat in enumerate(HEATS):
        file = tmp_path / "heat" / "ab"[number % 2] / f"{number}.{('tif', 'npy')[number % 2]}"
        file.parent.mkdir(parents=True, exist_ok=True)
        write(heat, file)
    found = data.from_folder(tmp_path / "heat", image_size=32, value_range=(0, 65535))
    assert found.channels == 1
    backbone = kt.backbone("tiny", channels=found.channels)
    model = kt.build_model(backbone, kt.tasks.Classification(found.class_names))
    assert model.predict(found.ordered("train"), verbose=0).shape == (5, 2)
    measured = data.labelled_folder(
        tmp_path / "heat", ["a", "b"], image_size=32, value_range=(0, 65535)
    )
    assert measured.channels == 1
    with pytest.raises(checks.InputError, match="must hold images"):
        data.from_folder(tmp_path / "heat")


def harm(folder, how):
    """Makes something of one file that must not be read."""
    file = folder / "heat2.npy"
    if how == "cut off":
        file.write_bytes(file.read_bytes()[:-5])
    elif how == "objects":
        np.save(file, np.array([[{}]]), allow_pickle=True)
    elif how == "huge":
        start = np.lib.format.magic(1, 0)
        header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (400000, 400000)}\n"
        file.write_bytes(start + len(header).to_bytes(2, "little") + header)
    elif how == "not finite":
        np.save(file, np.full((8, 8), np.nan))
    elif how == "channels":
        np.save(file, np.zeros((8, 8, 2), np.uint16))
    elif how == "bytes":
        np.save(file, np.zeros((8, 8), np.uint8))
    elif how == "text":
        file.write_text("heat")
    elif how == "empty":
        file.write_bytes(b"")


HARMS = ["cut off", "objects", "huge", "not finite", "channels", "bytes", "text", "empty"]


@pytest.mark.parametrize("how", HARMS)
def test_files_that_cannot_be_are_named_or_left_out(scenes, how):
    rows, options = scenes
    harm(options["root"], how)
    with pytest.raises(checks.InputError, match=r"heat2\.npy") as caught:
        data.from_csv(rows, image=["rgb", "npy"], **options)
    assert "\n" not in str(caught.value)
    assert "1 file is not, of 6" in str(caught.value)
    found = data.from_csv(rows, image=["rgb", "npy"], corrupt="skip", **options)
    left = [0, 1, 3, 4, 5]
    np.testing.assert_array_equal(pixels_of(found)[..., :3], COLOURS[left])


BAD = {
    "no pair": ({"value_range": 65535}, r"must be \(lowest, highest\)"),
    "turned round": ({"value_range": (5, 1)}, r"must be \(lowest, highest\).*Given: \(5, 1\)"),
    "not finite": ({"value_range": (0, float("inf"))}, "`value_range` must be a number"),
    "another word": ({"value_range": "auto"}, "`value_range` must be one of 'measure'"),
    "another column": ({"value_range": {"depth": (0, 1)}}, "`value_range` must be a known name"),
    "no columns": ({"image": []}, "`image` must name a column"),
    "an unknown column": ({"image": ["rgb", "nir"]}, "`image` must be a column"),
    "other channels": ({"channels": 1}, "the images must have `channels=1`. Given: 4 in the files"),
    "not in memory": ({"cache": "off"}, "must be kept in memory.*Given: cache='off'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments_are_one_line(scenes, case):
    rows, options = scenes
    changes, words = BAD[case]
    with pytest.raises(checks.InputError, match=words) as caught:
        data.from_csv(rows, **{"image": ["rgb", "tif"], **options, **changes})
    assert "\n" not in str(caught.value)


def test_blank_and_absent_files_of_a_stack_are_told_by_row(scenes):
    rows, options = scenes
    rows[1]["tif"], rows[3]["tif"] = "", "absent.tif"
    with pytest.raises(checks.InputError, match="tif file is blank.*absent.tif"):
        data.from_csv(rows, image=["rgb", "tif"], **options)
    found = data.from_csv(rows, image=["rgb", "tif"], corrupt="skip", **options)
    np.testing.assert_array_equal(pixels_of(found)[..., :3], COLOURS[[0, 2, 4, 5]])


def test_what_does_not_fit_is_refused(scenes, monkeypatch):
    rows, options = scenes
    needed = COUNT * 8 * 8 * 4 * 4
    monkeypatch.setattr(memory, "free_memory", lambda: 4 * needed - 1)
    with pytest.raises(checks.InputError, match="must be kept in memory, in a quarter of it"):
        data.from_csv(rows, image=["rgb", "tif"], **options)
    data.from_csv(rows, image=["rgb", "tif"], cache="memory", **options)


def test_a_constant_has_no_range(scenes):
    rows, options = scenes
    for row in rows:
        np.save(options["root"] / row["npy"], np.full((8, 8), 3.5))
    with pytest.raises(checks.InputError, match="the values of 'npy' must differ. Given: 3.5 only"):
        data.from_csv(rows, image="npy", **options)


@pytest.mark.parametrize(
    ("stacks", "value_range", "words"),
    [
        ([], (0, 1), "as many files for each image. Given: none"),
        ([["a.npy"], ["a.npy", "b.npy"]], (0, 1), "Given: 1, 2"),
        ([["a.npy", "b.npy"]], [(0, 1)], "a range for each file. Given: 1 for 2 files"),
        (["absent.npy"], (0, 1), "absent.npy .No such file"),
    ],
)
def test_stacks_to_load_are_checked(stacks, value_range, words):
    with pytest.raises(checks.InputError, match=words):
        data.load_stacks(stacks, 8, value_range=value_range)


def test_subfolders_become_channels(tmp_path):
    home = tmp_path / "scenes"
    for number, (heat, colour) in enumerate(zip(HEATS, COLOURS, strict=True)):
        kind = "ab"[number % 2]
        for band, values, ending in (("rgb", colour, "png"), ("heat", heat, "tif")):
            file = home / band / kind / f"{number}.{ending}"
            file.parent.mkdir(parents=True, exist_ok=True)
            write(values, file)
    options = {"image_size": 8, "image": ["rgb", "heat"], "value_range": {"heat": (0, 65535)}}
    found = data.from_folder(home, **options)
    assert found.channels == 4
    for split, part in found.examples.items():
        for file, pixels in zip(found.files[split], part.pixels.numpy()[part.rows], strict=True):
            number = int(file.rpartition("/")[2].removesuffix(".png"))
            np.testing.assert_array_equal(pixels[..., :3], COLOURS[number])
            heat = HEATS[number].astype(np.float64) * 255 / 65535
            np.testing.assert_allclose(pixels[..., 3], heat, rtol=1e-6, atol=1e-5)

    (home / "heat" / "b" / "3.tif").unlink()
    with pytest.raises(checks.InputError, match="'rgb' must be in the other.*no .b/3 in 'heat'"):
        data.from_folder(home, **options)
    for wrong, words in (
        ("rgb", "a list of subfolders. Given: 'rgb'"),
        (["rgb", "rgb"], "different subfolders"),
        (["rgb", "nir"], "`image` must be a folder that exists.*nir"),
        (["red", "heat"], "`path` must be a folder that exists.*red"),
    ):
        with pytest.raises(checks.InputError, match=words):
            data.from_folder(home, image_size=8, image=wrong)
