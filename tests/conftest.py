"""Every test may start real servers; what that takes is in ``tests.servers`` and beside it."""

pytest_plugins = ("tests.servers", "tests.postgresql")
