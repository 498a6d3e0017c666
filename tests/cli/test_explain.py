"""`keras-transfer explain`: pictures of a run's answers."""

import networks
import numpy as np
from PIL import Image

import keras_transfer as kt
from keras_transfer.cli import main


def test_pictures_lie_in_the_runs_folder(tmp_path, capsys):
    model = kt.build_model(networks.small(), kt.tasks.Classification(["cat", "dog"]))
    model.save(tmp_path / "model.keras")
    photo = tmp_path / "a.jpg"
    Image.fromarray(np.zeros((40, 50, 3), "uint8")).save(photo)
    command = ["explain", str(tmp_path), str(photo)]
    assert main.main([*command, "--target", "dog", "--method", "layercam"]) == 0
    said = capsys.readouterr().out
    assert "dog" in said
    assert "1 picture" in said
    with Image.open(tmp_path / "explanations" / "a.png") as picture:
        assert picture.size == (50, 40)
    assert main.main([*command, "--target", "1", "--out", str(tmp_path / "maps")]) == 0
    assert (tmp_path / "maps" / "a.png").is_file()
    assert main.main([*command, "--method", "gradcma"]) == 2
    assert "--method" in capsys.readouterr().err
    assert main.main([*command, "--target", "yak"]) == 2
    assert main.main(["explain", str(tmp_path / "none"), str(photo)]) == 2
