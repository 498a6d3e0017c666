"""Where images and labels come from: one file a source.

A source is a function that returns `kt.data.Data`; `validation`, `test`, `batch_size` and `seed` mean the same in all.
There are two ways to make the result:

- with all images in memory, `arrays.from_arrays(images, labels, ...)` checks, encodes and splits, as in `glyphs.py`;
- with images in files, as in `folder.py`: make a `reading.Listed` of paths, labels and splits; `reading.read` reads
  every file once and `reading.make_data` encodes, splits and batches.

What the user should know goes through `checks.note` into `notes`; wrong arguments raise `checks.error`. `arrays`,
`folder`, `glyphs` and `scenes` are sources, `reading`, `decoding`, `keeping` and `storage.listing` serve them. Its
import and its name in `data/__init__.py` make a source public.
"""
