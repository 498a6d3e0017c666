"""Images and targets: where they come from, how they change at random, and their batches for `model.fit`.

A source is a function that returns `Data`: one file in `data/sources/` (its docstring says how), and its name below. So
are a kind of target in `data/targets/` and a random change in `data/changes/`, which have tables of their own.
"""

from typing import TYPE_CHECKING

from keras_transfer.core import lookup
from keras_transfer.data.base import Data
from keras_transfer.data.changes.augment import PRESETS, Augment, Passes
from keras_transfer.data.mixture import mix
from keras_transfer.data.records.writing import write_records
from keras_transfer.data.sources.arrays import from_arrays
from keras_transfer.data.sources.coco import from_coco
from keras_transfer.data.sources.decoding import load_images
from keras_transfer.data.sources.folder import from_folder, labelled_folder
from keras_transfer.data.sources.glyphs import glyphs, render_glyphs
from keras_transfer.data.sources.mask_folders import from_masks
from keras_transfer.data.sources.records import from_records
from keras_transfer.data.sources.scenes import COLOURS, SHAPES, TEXTURES, render_scenes, scenes
from keras_transfer.data.sources.sensors import load_stacks
from keras_transfer.data.sources.tables import from_csv
from keras_transfer.data.sources.tfds import from_tfds
from keras_transfer.data.sources.voc import from_voc
from keras_transfer.data.sources.yolo import from_yolo
from keras_transfer.data.spoiling import spoil
from keras_transfer.data.targets.tags import split_tags
from keras_transfer.storage.listing import class_names_of

__all__ = [
    "COLOURS", "PRESETS", "SHAPES", "TEXTURES", "Augment", "Data", "Passes", "class_names_of", "from_arrays",
    "from_coco", "from_csv", "from_folder", "from_masks", "from_records", "from_tfds", "from_voc", "from_yolo",
    "glyphs", "labelled_folder", "load_images", "load_stacks", "mix", "render_glyphs", "render_scenes", "scenes",
    "split_tags", "spoil", "write_records",
]  # fmt: skip

if not TYPE_CHECKING:  # type checkers know the names, and would take any other for one of them
    __getattr__ = lookup.no_such_name(__name__, __all__)
