"""One tree of errors. Who is to blame decides retry, alert and status code at once."""


class MilpaError(Exception):
    """The root: a stable `code` for programs and a message for people.

    exit_code: what a program that can't go on for it ends with.
    """

    exit_code = 4

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class UsageError(MilpaError):
    """The caller's: the same request will fail again. Never retried, never an alert."""

    exit_code = 2


class TransientError(MilpaError):
    """Nobody's: try again later. Retried with back-off."""

    exit_code = 3


class FatalError(MilpaError):
    """Ours: logged once with its job and request id. Never retried."""
