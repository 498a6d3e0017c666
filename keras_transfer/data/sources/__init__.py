"""Where images and labels come from: one file a source.

A source is a function that returns `kt.data.Data`; `validation`, `test`, `batch_size` and `seed` mean the same in all.
There are two ways to make the result:

- with all images in memory, `arrays.from_arrays(images, labels, ...)` checks, encodes and splits, as in `glyphs.py`;
- with images in files, as in `folder.py`: list them, make labels class ids or targets (`data.targets.encoding.read`),
  choose the rows of each split (`splits.assign`), and give `base.from_examples` a `pipeline.Examples` of each, whose
  pixels may be paths.

What the user should know goes through `checks.note` into `notes`; wrong arguments raise `checks.error`. `arrays`,
`folder`, `glyphs` and `scenes` are sources, `decoding` and `storage.listing` read files for them. Its import and its
name in `data/__init__.py` make a source public.
"""
