import pytest

from keras_transfer.core import checks
from keras_transfer.storage.remote import Folder


@pytest.mark.parametrize("start", ["", "file://"])
def test_a_folder_here_and_at_an_address(tmp_path, start):
    folder = Folder(f"{start}{tmp_path}/new")
    assert folder.names() == []
    folder.make()
    folder.write("b.bin", b"0123456789")
    folder.write("a.bin", b"")
    folder.write("a.bin", b"written over")
    assert folder.names() == ["a.bin", "b.bin"]
    assert folder.size("b.bin") == 10
    assert folder.read("b.bin") == b"0123456789"
    assert folder.read("b.bin", start=3, length=4) == b"3456"
    assert folder.read("b.bin", start=8, length=4) == b"89"
    folder.rename("b.bin", "a.bin")
    assert (folder.names(), folder.read("a.bin")) == (["a.bin"], b"0123456789")
    folder.remove("a.bin")
    assert folder.names() == []
    for read in (folder.size, folder.read):
        with pytest.raises(OSError, match="missing"):
            read("missing")


def test_what_is_no_folder(tmp_path):
    with pytest.raises(
        checks.InputError, match="`folder` must be a folder, or an address.*Given: 7"
    ):
        Folder(7)
    (tmp_path / "file").write_text("")
    with pytest.raises(checks.InputError, match="`folder` must be a folder that can be written to"):
        Folder(tmp_path / "file").make()
