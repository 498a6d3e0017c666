"""Safe files and archives, image bytes, SavedModels on disk."""
