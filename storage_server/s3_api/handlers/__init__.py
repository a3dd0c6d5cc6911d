"""One module per family of operations; ``table.py`` puts them together."""
