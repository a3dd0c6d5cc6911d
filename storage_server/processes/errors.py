"""What keeps a process from starting or a command from finishing, as one sentence."""

import os


class StartError(Exception):
    """The process can't start or the command can't be done; the sentence says what to do."""

    def __init__(self, sentence: str, exit_code: int = 1) -> None:
        """Remember how the process shall exit."""
        super().__init__(sentence)
        self.exit_code = exit_code


EXIT_FAILED = 1
EXIT_USAGE = os.EX_USAGE
EXIT_CONFIG = os.EX_CONFIG
"""A child that exits so would do it again: the supervisor gives up instead of restarting it."""
