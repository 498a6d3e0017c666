"""Random changes to training pictures and their targets.

`augment` says how one more change is made, `places` one more kind of target that moves with its picture.
"""
