import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from keras_transfer.storage import listing
from keras_transfer.storage.names import Names, Paths

TEXTS = ["a/1.jpg", "b/ü.png", "b/\udcff.png", "", "a/1.jpg"]


def test_they_are_the_list_that_they_were_made_of():
    names = Names(iter(TEXTS), folder="photos/")
    whole = ["photos/" + text for text in TEXTS]
    assert names == whole
    assert list(names) == whole
    assert [names[at] for at in range(-5, 5)] == whole + whole
    assert names[1:4:2] == whole[1:4:2]
    assert names != whole[:-1]
    assert names != [*whole[:-1], "else"]
    assert "photos/b/ü.png" in names
    assert list(Paths(names)) == list(map(Path, whole))
    with pytest.raises(IndexError, match="there are 5 names"):
        names[5]


def test_picks_of_picks_share_the_letters():
    names = Names(TEXTS).pick(np.array([4, 2, 1])).pick(np.array([2, 0]))
    assert names == [TEXTS[1], TEXTS[4]]
    assert Paths(Names(TEXTS)).pick(np.array([1]))[0] == Path(TEXTS[1])
    assert Names(()) == []


def test_listing_takes_little_memory_for_a_file(tmp_path):
    count = 4000
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for at in range(count // 2):
            (tmp_path / name / f"picture_{at:07}.jpg").touch()
    tracemalloc.start()
    try:
        found = listing.list_classes(tmp_path)[1]
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(found.paths) == count
    assert found.paths[count - 1] == tmp_path / "dog" / "picture_0001999.jpg"
    assert kept / count < 60
    assert peak / count < 300
