"""The console port."""
