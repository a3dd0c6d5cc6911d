"""The S3 port: parse, one service call, render."""
