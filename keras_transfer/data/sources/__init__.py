"""Where images and labels come from: one file a source.

A source is a function that returns `kt.data.Data`. Arguments of one name, such as `validation`, `test`, `image_size`,
`batch_size` and `seed`, mean the same in all.
There are two ways to make the result:

- with all images in memory, `arrays.from_arrays(images, labels, ...)` checks, encodes and splits, as in `glyphs.py`;
- with images in files, as in `mask_folders.py`: make a `reading.Listed` of paths, labels and splits; `file_data.load`
  reads every file once, if they fit in memory, encodes, splits and batches.

What the user should know goes through `checks.note` into `notes`; wrong arguments raise `checks.error`. Its import and
its name in `data/__init__.py` make a source public; `cli/sources.py` says which sources `keras-transfer train` knows.

- Sources: `arrays`, `coco`, `folder`, `glyphs`, `mask_folders`, `records`, `scenes`, `tables`, `tfds`, `voc`, `yolo`.
- For all of them: `file_data`, `reading`, `decoding`, `sensors`, `keeping`, and `storage.listing`.
- For annotations: `boxes` gathers boxes one by one, `matching` finds the file that belongs to a picture, `problems`
  collects what is wrong, place by place.
- For one source: `table_files`, `table_targets` and `file_names` for `tables`, `tfds_builders` and `tfds_features`
  for `tfds`.
- `files` is no source: it reads files and folders for `kt.predict`, `kt.verify` and `kt.features.extract`.
"""
