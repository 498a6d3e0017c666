"""Keeps the rows of a long measurement, one line of JSON each: what is finished is not measured again."""

import json
import sys


class Rows:
    """Rows that a file holds, and those that are measured now; without a file they are printed only.

    Args:
        file: A path, or None.
        names: The values by which rows are told apart.
    """

    def __init__(self, file, names):
        self.file, self.names = file, names
        self.known = {}
        if file and file.exists():
            for line in file.read_text().splitlines():
                row = json.loads(line)
                self.known[self._key(row)] = row

    def get(self, measure, *arguments, **values):
        """Returns the row of these values; what `measure(*arguments)` returns is added to a new one."""
        key = self._key(values)
        if key not in self.known:
            self.known[key] = values | measure(*arguments)
            self._keep(json.dumps(self.known[key]))
        return self.known[key]

    def _key(self, row):
        return tuple(row[name] for name in self.names)

    def _keep(self, line):
        print(line[:300], file=sys.stderr, flush=True)
        if self.file:
            with self.file.open("a") as file:
                file.write(f"{line}\n")
