"""What is refused is refused before anything is written: the folder around the target stays as it was."""

import io
import os
import pathlib
import stat
import subprocess
import sys
import tarfile
import zipfile

import pytest

from keras_transfer.core import checks
from keras_transfer.storage import archives

pytestmark = pytest.mark.compiled

UNSAFE = ["../evil", "a/../../evil", "/evil", "a//evil", "..\\evil", "C:/evil", "C:\\evil"]


def zipped(path, entries):
    with zipfile.ZipFile(path, "w") as archive:
        for entry, content in entries.items():
            archive.writestr(entry, content)
    return path


def link(name):
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def files_under(folder):
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()
    )


def test_extract_writes_what_has_the_prefix(tmp_path):
    path = zipped(
        tmp_path / "a.zip", {"a/b/one": "1", "a/two": "2", "c/three": "3", "a/empty/": ""}
    )
    assert archives.names(path) == ["a/b/one", "a/two", "c/three"]
    archives.extract(path, "a/", tmp_path / "out")
    assert files_under(tmp_path / "out") == ["b/one", "two"]
    assert (tmp_path / "out" / "b" / "one").read_text() == "1"


@pytest.mark.parametrize("name", UNSAFE)
def test_an_unsafe_entry_refuses_the_whole_zip(tmp_path, name):
    inside = tmp_path / "inside"
    inside.mkdir()
    path = zipped(inside / "a.zip", {"a/good": "1", name: "2", f"a/{name}": "3"})
    for refuse in (
        lambda: archives.names(path),
        lambda: archives.read_json(path, "a/good"),
        lambda: archives.extract(path, "a/", inside / "out"),
    ):
        with pytest.raises(checks.InputError, match="whole and safe archive") as error:
            refuse()
        assert "\n" not in str(error.value)
    assert files_under(tmp_path) == ["inside/a.zip"]
    assert not pathlib.Path("/evil").exists()


def test_a_link_refuses_the_whole_zip(tmp_path):
    path = zipped(tmp_path / "a.zip", {"a/good": "1", link("a/link"): "/etc"})
    with pytest.raises(checks.InputError, match="'a/link' is a link"):
        archives.extract(path, "a/", tmp_path / "out")
    assert files_under(tmp_path) == ["a.zip"]


def test_broken_zips(tmp_path):
    path = zipped(
        tmp_path / "a.zip", {"config.json": '{"a": 1}', "bad.json": "{", "big": "x" * 5000}
    )
    assert archives.read_json(path, "config.json") == {"a": 1}
    with pytest.raises(checks.InputError, match="`file` must hold absent.json"):
        archives.read_json(path, "absent.json", argument="file")
    with pytest.raises(checks.InputError, match="whole and safe archive"):
        archives.read_json(path, "bad.json")
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    with pytest.raises(checks.InputError, match="File is not a zip file"):
        archives.names(path)
    path.write_bytes(whole.replace(b"xxxx", b"yxxx", 1))
    with pytest.raises(checks.InputError, match="Bad CRC-32"):
        archives.extract(path, "big", tmp_path / "out")


def tarred(path, members):
    with tarfile.open(path, "w:gz") as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def special(name, kind, to=""):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, to
    return member


def test_untar(tmp_path):
    folder = special("./inner", tarfile.DIRTYPE)
    path = tarred(tmp_path / "a.tar.gz", [(folder, b""), (tarfile.TarInfo("./inner/one"), b"1")])
    archives.untar(path, tmp_path / "out")
    assert (tmp_path / "out" / "inner" / "one").read_bytes() == b"1"


@pytest.mark.parametrize(
    "member",
    [*map(tarfile.TarInfo, UNSAFE), special("link", tarfile.SYMTYPE, "/etc"), special("hard", tarfile.LNKTYPE, "good"),
     special("pipe", tarfile.FIFOTYPE)],
    ids=lambda member: member.name,
)  # fmt: skip
def test_an_unsafe_member_refuses_the_whole_tar(tmp_path, member):
    path = tarred(tmp_path / "a.tar.gz", [(tarfile.TarInfo("good"), b"1"), (member, b"")])
    with pytest.raises(checks.InputError, match="whole and safe archive") as error:
        archives.untar(path, tmp_path / "in" / "out")
    assert "\n" not in str(error.value)
    assert files_under(tmp_path) == ["a.tar.gz"]


def test_a_truncated_tar(tmp_path):
    path = tarred(tmp_path / "a.tar.gz", [(tarfile.TarInfo("good"), os.urandom(9999))])
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(checks.InputError, match="whole and safe archive"):
        archives.untar(path, tmp_path / "out")


def test_the_scratch_folder_goes_with_the_process():
    code = (
        "import os\n"
        "from keras_transfer.storage import archives\n"
        "folder = archives.scratch()\n"
        "(folder / 'a').write_text('a')\n"
        "child = os.fork()\n"
        "if not child:\n    raise SystemExit\n"  # a child that ends as an interpreter does
        "os.waitpid(child, 0)\n"
        "assert (folder / 'a').exists()\n"
        "print(folder)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    folder = pathlib.Path(done.stdout.strip())
    assert folder.name.startswith("keras_transfer_")
    assert not folder.exists()
