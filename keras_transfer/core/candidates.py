"""The numbers of a detector's candidate, which a layer writes and a loss and a task read."""

__all__ = ["BOX", "PLACE", "PLACES", "STRIDE"]

BOX = slice(0, 4)  # x1, y1, x2, y2 in pixels
PLACE = slice(4, 6)  # x, y of the place of the map
STRIDE = 6  # of the map
PLACES = 7  # so many before the probabilities of the classes
