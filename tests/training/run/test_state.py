from keras_transfer.storage import files
from keras_transfer.training.run import state


def test_what_a_killed_writer_left_is_removed_with_the_rest(tmp_path):
    writing = files.replacing(tmp_path / state.FILE)
    half = writing.__enter__()  # and killed before its end
    half.write_bytes(b"half")
    for name in (state.FILE, state.START, "results.csv"):
        (tmp_path / name).write_bytes(b"whole")
    state.forget(tmp_path)
    assert [found.name for found in tmp_path.iterdir()] == ["results.csv"]
