"""Paired measurements of a running server against the limits of the machine it runs on."""
