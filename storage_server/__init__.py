"""Holdfast: an S3-compatible object storage server with its own on-disk engine."""

__version__ = "0.1.0"
