"""Requests parsed into inputs and results rendered into replies, one module a family."""
