"""What a network makes of images: maps of its features, blocks compared, and the neighbours of an image."""
