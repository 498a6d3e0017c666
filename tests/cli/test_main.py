"""The command as a user runs it: exit codes, one-line errors, what lies in the folder afterwards."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import keras_transfer as kt
from keras_transfer.cli import export, features, main, predict, resuming, train
from keras_transfer.core import checks
from keras_transfer.features import store
from keras_transfer.machine import strategy
from keras_transfer.training.run import log, state

SMALL = [
    "--backbone",
    "tiny",
    "--image-size",
    "32",
    "--epochs",
    "2",
    "1",
    "--quiet",
    "--batch-size",
    "8",
]


def write_photos(folder, per_class, seed=0, first=0):
    scenes = kt.data.render_scenes(
        (first + per_class) * 16, image_size=40, seed=seed, max_objects=1
    )
    for shape in (0, 3):
        rows = np.flatnonzero(scenes["class"] == shape)[first : first + per_class]
        (folder / kt.data.SHAPES[shape]).mkdir(parents=True)
        for row in rows:
            Image.fromarray(scenes["images"][row]).save(
                folder / kt.data.SHAPES[shape] / f"{row}.png"
            )
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One small training run, shared."""
    folder = tmp_path_factory.mktemp("cli")
    write_photos(folder / "train", 12)
    write_photos(folder / "test", 6, first=12)
    command = ["train", f"{folder}/train", "--test", f"{folder}/test", "--out", f"{folder}/run"]
    assert main.main([*command, *SMALL]) == 0
    return folder


def test_train_leaves_everything(run):
    names = {path.name for path in (run / "run").iterdir()}
    assert names == {
        "README.md",
        "args.yaml",
        "confusion.png",
        "curves.png",
        "export",
        "labels.png",
        "mistakes.png",
        "reliability.png",
        "model.keras",
        "results.csv",
        "report.html",
        "report.json",
        "run.json",
        "train_batch0.png",
    }
    record = json.loads((run / "run" / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["command"]["backbone"] == "tiny"
    assert record["digest"]
    assert record["versions"]["keras"]
    assert record["verify"]["labels"]["agree"] == record["verify"]["labels"]["of"] > 0
    assert [stage["epochs"] for stage in record["stages"]] == [[0, 1], [2, 2]]


def test_evaluate_agrees_with_the_report_of_training(run, capsys):
    out = run / "again.json"
    assert main.main(["evaluate", f"{run}/run", f"{run}/test", "--out", str(out)]) == 0
    before = json.loads((run / "run" / "report.json").read_text())
    after = json.loads(out.read_text())
    assert after["accuracy"] == before["accuracy"]
    assert after["confusion"] == before["confusion"]
    assert after["about"]["training"]["best_epoch"] == before["about"]["training"]["best_epoch"]
    assert "precision" in capsys.readouterr().out


def test_predict_prints_a_line_for_each_image(run, capsys):
    files = sorted((run / "test" / "circle").iterdir())[:2]
    assert main.main(["predict", f"{run}/run", *map(str, files)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert all(re.search(r"(circle|star)\s+\d+\.\d%", line) for line in lines)
    assert main.main(["predict", f"{run}/run", f"{run}/test", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(rows) == 12
    assert all(abs(sum(row["classification"].values()) - 1) < 1e-4 for row in rows)


@pytest.mark.compiled
def test_export_writes_and_verifies(run, capsys):
    assert main.main(["export", f"{run}/run", f"{run}/serving/1"]) == 0
    assert (run / "serving" / "1" / "saved_model.pb").is_file()
    assert "agrees with Keras" in capsys.readouterr().out


def test_verify_compares_an_export_with_its_model(run, capsys):
    command = ["verify", f"{run}/run", f"{run}/run/export/1"]
    assert main.main([*command, f"{run}/test"]) == 0
    assert "12 of 12 images" in capsys.readouterr().out
    other = kt.build_model(
        kt.backbone("tiny", weights=None), kt.tasks.Classification(["circle", "star"])
    )
    other.save(run / "other.keras")
    assert main.main(["verify", f"{run}/other.keras", f"{run}/run/export/1", f"{run}/test"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "the SavedModel must answer as Keras does" in lines[0]


def test_report_is_written_again(run, capsys):
    """From the images of the run, or those of another folder; images that are others now are no measure."""
    folder = run / "run"
    before = json.loads((folder / "report.json").read_text())
    for name in ("report.json", "report.html"):
        (folder / name).unlink()
    assert main.main(["report", f"{folder}"]) == 0
    again = json.loads((folder / "report.json").read_text())
    assert (folder / "report.html").is_file()
    assert (again["confusion"], again["about"]["history"]) == (
        before["confusion"],
        before["about"]["history"],
    )
    assert again["about"]["data"]["split"] == "test"

    image = next((run / "train" / "star").iterdir())
    content = image.read_bytes()
    image.unlink()
    assert "must be those that `train` read" in fails(capsys, "report", folder)
    assert "RUN|FOLDER must be a folder that exists" in fails(capsys, "report", folder, "nope")
    image.write_bytes(content)
    assert main.main(["report", f"{folder}", f"{run}/train"]) == 0
    assert json.loads((folder / "report.json").read_text())["support"] == 24
    assert main.main(["report", f"{folder}"]) == 0


def test_stdout_of_predict_has_the_answers_only(run, capsys, monkeypatch):
    """Another program may read them; what the package says while it loads and predicts goes to stderr."""
    load = predict.options.load_run
    monkeypatch.setattr(
        predict.options, "load_run", lambda given: (checks.note("loading"), load(given))[1]
    )
    assert main.main(["predict", f"{run}/run", f"{run}/test", "--json"]) == 0
    printed = capsys.readouterr()
    assert len([json.loads(line) for line in printed.out.splitlines()]) == 12
    assert printed.err == "keras_transfer: loading\n"


def test_notes_speak_of_options(capsys, monkeypatch):
    """A line of the package that a command prints names the options of that command."""

    line = "kept in memory; cache='off' turns this off, refit=False leaves that out"
    monkeypatch.setattr(train, "check", lambda arguments: None)

    def train_nothing(arguments):
        checks.note(line)

    monkeypatch.setattr(train, "main", train_nothing)
    assert main.main(["train", "--out", "x"]) == 0
    expected = "kept in memory; --cache off turns this off, --no-refit leaves that out"
    assert capsys.readouterr().out == f"keras_transfer: {expected}\n"
    assert checks.note("cache='off'") == "cache='off'"  # after the command


EAGER_COMMAND = """
import sys
import tensorflow as tf
from keras_transfer.cli import main
tf.config.run_functions_eagerly(True)
sys.exit(main.main(sys.argv[1:]))
"""


def test_the_same_seed_trains_the_same_model(run, run_code):
    """In another process, too, in which the hashes of texts are others."""
    command = ["train", f"{run}/train", "--test", f"{run}/test", *SMALL, "--out", f"{run}/twin"]
    done = run_code(EAGER_COMMAND, *command)
    assert done.returncode == 0, done.stderr[-2000:]
    one, two = (kt.load_model(run / name / "model.keras").get_weights() for name in ("run", "twin"))
    for first, second in zip(one, two, strict=True):
        np.testing.assert_array_equal(first, second)


def interrupted(*_, **__):
    raise KeyboardInterrupt


def test_an_interrupted_run_goes_on_and_ends_as_the_unbroken_one(
    run, tmp_path, capsys, monkeypatch
):
    out = tmp_path / "out"
    command = ["train", f"{run}/train", "--test", f"{run}/test", *SMALL, "--out", str(out)]
    with monkeypatch.context() as patch:  # in the second epoch, before its state is written
        write = log.Log.on_epoch_end
        patch.setattr(
            log.Log,
            "on_epoch_end",
            lambda self, epoch, logs: (interrupted if epoch else write)(self, epoch, logs),
        )
        assert main.main(command) == 1
    assert f"resume with: keras-transfer train --out {out} --resume\n" in capsys.readouterr().err
    assert (out / resuming.STATE).is_file()
    assert "an interrupted run. Add --resume to continue it" in fails(capsys, *command)
    other = fails(capsys, "train", "--resume", "--out", out, "--epochs", "2", "2")
    assert "--epochs must be as it was, [2, 1], or left out. Given: [2, 2]" in other
    with monkeypatch.context() as patch:
        patch.setattr(kt, "evaluate", interrupted)
        assert main.main(["train", "--resume", "--out", str(out), "--quiet"]) == 1
    assert "Going on with epoch 2, in stage 1 of 2" in capsys.readouterr().out
    with monkeypatch.context() as patch:
        patch.setattr(kt, "fine_tune", None)  # nothing is left to train
        assert main.main(["train", "--resume", "--out", str(out), "--quiet"]) == 0
    assert {path.name for path in out.iterdir()} == {path.name for path in (run / "run").iterdir()}
    one, two = (
        kt.load_model(folder / "model.keras").get_weights() for folder in (run / "run", out)
    )
    for first, second in zip(one, two, strict=True):
        np.testing.assert_array_equal(first, second)
    one, two = (json.loads((folder / "report.json").read_text()) for folder in (run / "run", out))
    assert one["confusion"] == two["confusion"]
    assert one["about"]["history"] == two["about"]["history"]
    assert one["about"]["epochs"] == two["about"]["epochs"]
    assert "--out must hold a run that was interrupted" in fails(
        capsys, "train", "--resume", "--out", out
    )


def test_what_the_engine_is_asked_for(run, tmp_path, monkeypatch):
    asked = []

    def ask(model, data, **options):
        asked.append(options)
        raise checks.error("`x` must", given="y")

    monkeypatch.setattr(kt, "fine_tune", ask)
    usual = {"seed": 0, "run_dir": tmp_path / "out", "resume": False, "verbose": "auto"}
    for options, expected in (
        ([], {}),
        (
            [
                "--plan",
                "full",
                "--epochs",
                "3",
                "--learning-rate",
                "auto",
                "--augment",
                "none",
                "--batch-norm",
                "train",
            ],
            {
                "plan": "full",
                "epochs": 3,
                "learning_rate": "auto",
                "augment": None,
                "batch_norm": "train",
            },
        ),
        (
            [
                "--learning-rate",
                "auto",
                "1e-4",
                "--augment",
                "strong",
                "--watch",
                "distance",
                "gradient",
                "--no-refit",
            ],
            {
                "learning_rate": ("auto", 1e-4),
                "augment": "strong",
                "watch": ["distance", "gradient"],
                "refit": False,
            },
        ),
        (["--watch", "--unfreeze", "block3"], {"watch": [], "unfreeze": "block3"}),
    ):
        assert (
            main.main(
                [
                    "train",
                    f"{run}/train",
                    "--backbone",
                    "tiny",
                    *options,
                    "--out",
                    f"{tmp_path}/out",
                ]
            )
            == 2
        )
        asked[-1].pop("callbacks")
        assert asked[-1] == {**usual, **expected}
        assert not (
            tmp_path / "out" / resuming.FILE
        ).exists()  # nothing began, so there is nothing to go on with


def photos(folder, **classes):
    for name, files in classes.items():
        (folder / name).mkdir(parents=True)
        for file, content in files.items():
            if content is None:
                pixels = np.random.default_rng(len(str(folder / name / file))).integers(
                    0, 256, (40, 40, 3), "uint8"
                )
                Image.fromarray(pixels).save(folder / name / file)
            else:
                (folder / name / file).write_bytes(content)
    return folder


GOOD = {f"{number:0{number + 1}d}.jpg": None for number in range(5)}
TEXT = {**GOOD, "notes.jpg": b"these are my notes"}
ZERO = {**GOOD, "zero.jpg": b""}


def truncated(tmp_path):
    photos(tmp_path / "one", cat=GOOD)
    whole = (tmp_path / "one" / "cat" / "0.jpg").read_bytes()
    return {**GOOD, "cut.jpg": whole[: len(whole) // 2]}


BAD_FOLDERS = {
    "absent": (lambda tmp: tmp / "nowhere", "must be a folder that exists"),
    "empty": (
        lambda tmp: photos(tmp / "e") if (tmp / "e").mkdir() else tmp / "e",
        "one subfolder for each class",
    ),
    "one class": (lambda tmp: photos(tmp / "o", cat=GOOD), "at least two class folders"),
    "class without images": (
        lambda tmp: photos(tmp / "w", cat=GOOD, dog={}),
        "every class folder must hold images",
    ),
    "text file": (lambda tmp: photos(tmp / "t", cat=GOOD, dog=TEXT), "notes.jpg"),
    "zero bytes": (
        lambda tmp: photos(tmp / "z", cat=GOOD, dog=ZERO),
        "zero.jpg (the file is empty)",
    ),
    "truncated": (lambda tmp: photos(tmp / "c", cat=GOOD, dog=truncated(tmp)), "cut.jpg"),
}


def fails(capsys, *arguments):
    """Runs a command that must end with code 2 and one line; returns that line."""
    assert main.main([str(argument) for argument in arguments]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("keras-transfer: ")
    assert "Given: " in lines[0]
    return lines[0]


@pytest.mark.parametrize("kind", BAD_FOLDERS)
def test_bad_folders(kind, tmp_path, capsys):
    make, message = BAD_FOLDERS[kind]
    out = tmp_path / "out"
    assert message in fails(capsys, "train", make(tmp_path), "--backbone", "tiny", "--out", out)
    assert not (out / "model.keras").exists()


def test_train_and_test_sharing_files(tmp_path, capsys):
    folder = photos(tmp_path / "p", cat=GOOD, dog={f"x{name}": None for name in GOOD})
    line = fails(
        capsys, "train", folder, "--test", folder, "--backbone", "tiny", "--out", tmp_path / "out"
    )
    assert "share" in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--backbone", "tiny", "--image-size", "16"],
            "--image-size must be at least 32 for tiny. Given: 16",
        ),
        (
            ["--backbone", "tiny", "--epochs", "0", "5"],
            "--epochs must be a whole number of at least 1. Given: 0",
        ),
        (
            ["--backbone", "tiny", "--weights", "imagenet"],
            "--weights must be 'pretrained', none or",
        ),
        (["--backbone", "tiny", "--unfreeze", "blok3"], "Close: 'block3'"),
        (["--backbone", "tiny", "--validation", "1.5"], "validation"),
        (["--backbone", "tiny", "--backbone-argument", "alpha=0.35"], "It takes none"),
        (
            ["--backbone", "tiny", "--learning-rate", "-1", "1"],
            "--learning-rate must be a number above 0",
        ),
        (["--backbone", "tiny", "--resume"], "--out must hold a run that was interrupted"),
    ],
)
def test_bad_options(arguments, message, tmp_path, capsys):
    folder = photos(tmp_path / "p", cat=GOOD, dog={f"x{name}": None for name in GOOD})
    assert message in fails(capsys, "train", folder, *arguments, "--out", tmp_path / "out")


def test_weights_of_another_architecture(tmp_path, capsys):
    folder = photos(tmp_path / "p", cat=GOOD, dog={f"x{name}": None for name in GOOD})
    kt.backbone("VGG16", weights=None, image_size=32).save_weights(tmp_path / "vgg.weights.h5")
    line = fails(
        capsys,
        "train",
        folder,
        "--backbone",
        "tiny",
        "--weights",
        tmp_path / "vgg.weights.h5",
        "--out",
        tmp_path / "out",
    )
    assert "must be a weights file of tiny" in line


def test_output_folder_not_writable(tmp_path, capsys):
    folder = photos(tmp_path / "p", cat=GOOD, dog={f"x{name}": None for name in GOOD})
    (tmp_path / "file").write_text("")
    line = fails(capsys, "train", folder, "--backbone", "tiny", "--out", tmp_path / "file")
    assert "must be a folder that can be written to" in line


def test_train_needs_a_folder(tmp_path, capsys):
    assert "FOLDER must be given" in fails(capsys, "train", "--out", tmp_path / "out")


def test_an_earlier_export_is_found_before_training(tmp_path, capsys):
    folder = photos(tmp_path / "p", cat=GOOD, dog={f"x{name}": None for name in GOOD})
    (tmp_path / "out" / "export" / "1").mkdir(parents=True)
    assert "which holds export/1" in fails(
        capsys, "train", folder, "--backbone", "tiny", "--out", tmp_path / "out"
    )


@pytest.mark.parametrize("command", ["evaluate", "predict", "export"])
def test_a_run_that_was_interrupted_is_to_be_finished_first(command, tmp_path, capsys):
    (tmp_path / "a run").mkdir()
    (tmp_path / "a run" / "command.json").write_text("{}")
    line = fails(capsys, command, tmp_path / "a run", tmp_path / "x.jpg")
    assert "RUN must be a folder whose training has finished" in line
    assert f"Finish it with: keras-transfer train --out '{tmp_path / 'a run'}' --resume" in line


def test_an_unknown_option_gets_the_close_ones(capsys):
    with pytest.raises(SystemExit, match="2"):
        main.main(["train", "photos", "--out", "a", "--image_size", "96"])
    expected = (
        "unknown options: --image_size 96. Close: --image-size (see keras-transfer train --help)"
    )
    assert expected in capsys.readouterr().err


def test_predict_needs_a_model_with_tasks(tmp_path, capsys):
    kt.backbone("tiny", weights=None).save(tmp_path / "plain.keras")
    folder = photos(tmp_path / "p", cat=GOOD)
    assert "without tasks" in fails(capsys, "predict", tmp_path / "plain.keras", folder)


def test_a_finished_run_is_not_overwritten(run, capsys):
    line = fails(capsys, "train", run / "train", "--backbone", "tiny", "--out", run / "run")
    assert "which holds model.keras" in line
    assert "Add --overwrite" in line


@pytest.mark.parametrize("command", ["evaluate", "predict", "export", "report", "verify"])
def test_no_such_run(command, tmp_path, capsys):
    assert "RUN must be a folder that `train` wrote" in fails(
        capsys, command, tmp_path, tmp_path / "x.jpg"
    )


def test_unknown_class_folder(run, tmp_path, capsys):
    folder = photos(tmp_path / "p", cat=GOOD)
    assert "known classes only" in fails(capsys, "evaluate", run / "run", folder)


def test_an_existing_export_is_told_in_the_commands_words(run, tmp_path, capsys):
    line = fails(capsys, "export", run / "run", tmp_path)
    assert line.endswith(
        f"PATH must be new. Given: '{tmp_path}'. Choose the next version, or add --overwrite."
    )
    assert "--overwrite replaces an earlier export only" in fails(
        capsys, "export", run / "run", tmp_path, "--overwrite"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["train nowhere --out out", "FOLDER must be a folder that exists"],
        ["train hollow --out out", "FOLDER must hold images in class folders"],
        ["train photos/cat --out out", "FOLDER must hold one subfolder for each class"],
        ["train photos --out full", "--out must be a new folder"],
        ["train photos --test 2 --out out", "--test must be a number at least 0 and below 1"],
        ["train photos --validation phot --out out", "Close names there: 'photos'"],
        ["train photos --test hollow --out out", "--test must hold images in class folders"],
        ["train photos --backbone MobilNetV2 --out out", "Close names: 'MobileNetV2'"],
        ["train photos --weights nowhere.h5 --out out", "none or an existing file"],
        ["train photos --plan two_stages --out out", "Close names: 'two_stage'"],
        ["train photos --strategy miror --out out", "Close names: 'mirrored'"],
        ["train photos --devices 2 --out out", "--devices must come with --strategy"],
        ["train photos --out full/model.keras", "--out must be a folder that can be written to"],
        ["train --resume --out out", "--out must hold a run that was interrupted"],
        ["evaluate nowhere .", "RUN must be a folder that `train` wrote"],
        ["evaluate full nowhere", "FOLDER must be a folder that exists"],
        ["evaluate full photos --out report.txt", "--out must end in .html or .json"],
        ["predict nowhere a.jpg", "RUN must be a folder that `train` wrote"],
        ["predict full a.jpg", "IMAGES must be files or folders that exist"],
        ["predict full hollow", "IMAGES must hold an image"],
        ["export nowhere new", "RUN must be a folder that `train` wrote"],
        ["export full full", "PATH must be new"],
        ["export full hym.tflite", "PATH must be a folder: SavedModel is the only format so far"],
        ["verify full photos", "PATH must be a folder that `export` wrote"],
        ["report full", "RUN must be a folder that `train` wrote, with run.json"],
        ["features nowhere --out out", "IMAGES must be files or folders that exist"],
        ["features photos --backbone tyny --out out", "Close names: 'tiny'"],
        ["demo --out full/model.keras", "--out must be a folder that can be written to"],
    ],
    ids=" ".join,
)
def test_cheap_checks_come_before_tensorflow_is_loaded(arguments, tmp_path, monkeypatch, capsys):
    """Paths, names and options; a folder without photos is told before any weights are asked for."""
    command, message = arguments
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "model.keras").write_bytes(b"")
    for name in ("hollow/cat", "hollow/dog", "photos/cat", "photos/dog"):
        (tmp_path / name).mkdir(parents=True)
        if name.startswith("photos"):
            (tmp_path / name / "1.jpg").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(main, "_load_quietly", lambda: pytest.fail("TensorFlow is loaded"))
    assert message in fails(capsys, *command.split())


def test_names_that_are_checked_without_tensorflow():
    assert list(train.PLANS) == list(kt.training.PLANS)
    assert train.STRATEGIES == strategy.NAMES
    assert resuming.STATE == state.FILE
    assert list(export.SUFFIXES) == list(kt.serving.FORMATS)
    assert features.FINISHED == store.MANIFEST
    code = (
        "import sys, keras_transfer as kt\n"
        "from keras_transfer.storage import listing\n"
        "assert 'MobileNetV2' in kt.backbones.CATALOGUE\n"
        "assert not {'keras', 'tensorflow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_usage_errors_exit_with_2_and_one_line(capsys):
    with pytest.raises(SystemExit) as end:
        main.main(["train"])
    assert end.value.code == 2
    expected = "the following arguments are required: --out (see keras-transfer train --help)"
    assert capsys.readouterr().err == f"keras-transfer: {expected}\n"


def test_every_command_has_help(capsys):
    for name in main.COMMANDS:
        with pytest.raises(SystemExit) as end:
            main.main([name, "--help"])
        assert end.value.code == 0
        assert name in capsys.readouterr().out
