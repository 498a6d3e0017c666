"""Examples in files of many, for data that is larger than memory.

A folder of records holds

- shards, `train-00000.tfrecord`: TFRecord files whose records are `tf.train.Example`s with the image as it was (the
  file's bytes, or a PNG of the array) and its targets, weights and name, so that any reader of TFRecord can use them;
- beside each shard `train-00000.index`: where each record ends and its checksum, 12 bytes an example, so that any one
  can be read without the others;
- columns, `column-0.bin`: the targets of all examples as one array, which answers what training asks before it reads;
- `names.txt`: the name of each image;
- `records.json`: what all of these are, with their checksums. It is written last: a folder without it is unfinished.
"""
