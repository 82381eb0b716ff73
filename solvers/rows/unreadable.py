"""The file as a whole cannot be read."""


class UnreadableError(Exception):
    """A file that gives no rows at all: a stable code and a message for its sender."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
