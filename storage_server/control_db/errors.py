"""What can go wrong in the control database; services turn these into answers."""


class ControlDbError(Exception):
    """The base of this package's errors."""


class Exists(ControlDbError):
    """The name or id is taken; an id stays taken when what bore it is deleted."""

    def __init__(self, kind: str, name: str) -> None:
        """Say which ``kind`` of entity holds ``name``."""
        self.kind, self.name = kind, name
        super().__init__(f"{kind} {name} exists already")


class Missing(ControlDbError):
    """Nothing living bears this name or id."""

    def __init__(self, kind: str, name: str) -> None:
        """Say which ``kind`` of entity was looked for under ``name``."""
        self.kind, self.name = kind, name
        super().__init__(f"{kind} {name} does not exist")


class Conflict(ControlDbError):
    """The change contradicts what is there: another revision, or something still depends on it."""

    def __init__(self, kind: str, name: str, sentence: str) -> None:
        """Say in a ``sentence`` that a client may read why ``name`` can't be changed so."""
        self.kind, self.name, self.sentence = kind, name, sentence
        super().__init__(sentence)


class LimitReached(ControlDbError):
    """There may be no more of something."""

    def __init__(self, name: str, limit_max: int) -> None:
        """Say how many of ``name`` there may be."""
        self.name, self.limit_max = name, limit_max
        super().__init__(f"no more than {limit_max} {name} are allowed here")


class SqlGone(ControlDbError):
    """The database is missing, out of reach or damaged; nothing was committed as far as known.

    When it comes from the commit itself, the change may have happened nevertheless: whoever must
    know compares with the database once it is back.
    """


class OtherInstallation(SqlGone):
    """The database is another installation's than the one that is obeyed."""


class SqlBusy(SqlGone):
    """Others held the database for longer than a writer waits."""


class SchemaMismatch(ControlDbError):
    """The database has another revision than this program: only a migration may touch it."""

    def __init__(self, found: str, wanted: str) -> None:
        """Name both revisions; ``found`` is empty when there is no schema at all."""
        self.found, self.wanted = found, wanted
        super().__init__(
            f"the control database has revision {found or 'none'}, this program needs {wanted}: "
            "run `holdfast migrate`, or start the version of the program that it belongs to"
        )
