"""Sources of images and targets, as batches for `model.fit`."""

from keras_transfer.data.arrays import from_arrays
from keras_transfer.data.augment import PRESETS, Augment, Passes
from keras_transfer.data.base import Data
from keras_transfer.data.decoding import load_images
from keras_transfer.data.folder import from_folder, labelled_folder
from keras_transfer.data.glyphs import glyphs, render_glyphs  # the function takes the place of its module
from keras_transfer.data.listing import class_names_of
from keras_transfer.data.mix import mix  # here too
from keras_transfer.data.scenes import COLOURS, SHAPES, TEXTURES, render_scenes, scenes  # here too

__all__ = [
    "COLOURS", "PRESETS", "SHAPES", "TEXTURES", "Augment", "Data", "Passes", "class_names_of", "from_arrays",
    "from_folder", "glyphs", "labelled_folder", "load_images", "mix", "render_glyphs", "render_scenes", "scenes",
]  # fmt: skip
