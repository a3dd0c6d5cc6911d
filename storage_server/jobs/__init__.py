"""Background work, in bounded slices."""
