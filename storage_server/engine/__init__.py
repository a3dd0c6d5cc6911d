"""The store: buckets, objects, versions and uploads over two contracts, MetaStore and BlobStore."""
