"""What every room needs: checks and errors, look-ups by name, missing labels, packages that may be absent."""
