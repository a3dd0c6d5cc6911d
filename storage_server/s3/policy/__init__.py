"""The policy language of S3 and IAM, pure: documents, conditions, decisions and their reasons."""
