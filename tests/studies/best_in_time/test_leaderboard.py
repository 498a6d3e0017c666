import csv
import json

from keras_transfer.studies.best_in_time.leaderboard import Leaderboard
from keras_transfer.studies.scores import Score

LINE = {"network": "tiny", "size": [32, 32], "round": "full", "interval": None, "loss": None,
        "seconds": 2.0, "parameters": 9}  # fmt: skip


def test_a_run_without_a_score_is_the_last_and_goes_into_every_file(tmp_path):
    error = Score("error", "joint error", False, False)
    lines = [
        {**LINE, "way": way, "score": score} for way, score in (("a", None), ("b", 3.0), ("c", 2.0))
    ]
    board = Leaderboard(lines, error)
    assert [line["way"] for line in board["lines"]] == ["c", "b", "a"]
    for ending in ("html", "json", "csv"):
        board.save(tmp_path / f"board.{ending}")
    assert json.loads((tmp_path / "board.json").read_text())["lines"][2]["score"] is None
    with (tmp_path / "board.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["score"] for row in rows] == ["2.0", "3.0", ""]
    alone = Leaderboard(lines[:1], error)
    assert "joint error not known on the validation images" in str(alone)
