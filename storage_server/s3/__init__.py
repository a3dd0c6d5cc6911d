"""The S3 protocol, sans-IO and pure: bytes and values in, values out."""
