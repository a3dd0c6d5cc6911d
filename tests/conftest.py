"""Every test may start real servers; what that takes is in ``tests.servers``."""

pytest_plugins = ("tests.servers",)
