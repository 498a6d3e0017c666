"""Where images and labels come from: one file a source.

A source is a function that returns `kt.data.Data`; `validation`, `test`, `batch_size` and `seed` mean the same in all.
There are two ways to make the result:

- with all images in memory, `arrays.from_arrays(images, labels, ...)` checks, encodes and splits, as in `glyphs.py`;
- with images in files, as in `folder.py`: make a `reading.Listed` of paths, labels and splits; `reading.read` reads
  every file once, if they fit in memory, and `reading.make_data` encodes, splits and batches.

What the user should know goes through `checks.note` into `notes`; wrong arguments raise `checks.error`. `arrays`,
`folder`, `tables`, `tfds`, `voc`, `coco`, `yolo`, `mask_folders`, `records`, `glyphs` and `scenes` are sources;
`reading`, `decoding`, `sensors`, `keeping` and `storage.listing` serve all. `boxes` gathers boxes one by one,
`matching` finds the file that belongs to a picture, `problems` collects what is wrong place by place; `table_files`,
`table_targets` and `file_names` read tables, `tfds_features` the features of sets for `tfds`. Its import and its name
in `data/__init__.py` make a source public.
"""
