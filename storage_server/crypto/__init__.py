"""Keys and ciphers: the only package that sees key bytes."""
