"""Running a plan: the loop over stages, its state on disk, and the record of what was done."""
