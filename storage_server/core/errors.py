"""The base of every error that a client may see, and the register of their codes."""

from typing import ClassVar


class ApiError(Exception):
    """An answer that is not a success: a code, a status and a sentence for the client.

    Subclasses are the catalogues: code, status and message are class keywords, and a code that
    another class has is refused. Keyword arguments of the constructor are details for the client,
    named as in the reply document.
    """

    code: ClassVar[str] = ""
    status: ClassVar[int] = 500
    message: ClassVar[str] = ""
    by_code: ClassVar[dict[str, type["ApiError"]]] = {}

    def __init_subclass__(cls, *, code: str = "", status: int = 500, message: str = "") -> None:
        """Register the class under its code."""
        super().__init_subclass__()
        if not code:
            return
        assert code not in ApiError.by_code, f"error code {code} is declared twice"
        cls.code, cls.status, cls.message = code, status, message
        ApiError.by_code[code] = cls

    def __init__(self, sentence: str | None = None, /, **details: str | int) -> None:
        """Make the error; ``sentence`` replaces the catalogue's message for the client."""
        self.sentence = sentence or self.message
        self.details = details
        super().__init__(self.sentence)
