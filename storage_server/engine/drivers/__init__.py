"""The embedded drivers of the two contracts: LMDB for metadata, files for blobs."""
