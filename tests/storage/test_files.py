import pytest

from keras_transfer.core import checks
from keras_transfer.storage import files


def test_a_failed_write_leaves_the_old_file(tmp_path):
    target = tmp_path / "a.txt"
    files.write_text(target, "old")

    def fail():
        with files.replacing(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_the_suffix_is_kept(tmp_path):
    with files.replacing(tmp_path / "best.weights.h5") as temporary:
        assert temporary.name.endswith(".weights.h5")
        temporary.write_text("x")
    assert (tmp_path / "best.weights.h5").read_text() == "x"


def test_names_that_are_no_text_are_written_escaped(tmp_path):
    files.write_text(tmp_path / "a.txt", "caf\udce9")
    assert (tmp_path / "a.txt").read_text() == "caf\\udce9"


def test_check_writable_makes_the_folder(tmp_path):
    assert files.check_writable(tmp_path / "a" / "b", argument="run_dir").is_dir()


def test_not_writable(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        checks.InputError, match="`run_dir` must be a folder that can be written to. Given: '.*file"
    ):
        files.check_writable(tmp_path / "file", argument="run_dir")
