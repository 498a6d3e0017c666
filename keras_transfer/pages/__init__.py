"""What self-contained HTML pages are made of: their frame, tables, figures and style."""
