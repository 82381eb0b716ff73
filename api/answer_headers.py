"""What every answer carries for the sake of browsers, errors and refusals included; a route's own word comes first."""

from collections.abc import Sequence

from litestar.types import Message, Scope

from milpa.settings import Settings

Header = tuple[bytes, bytes]

ALWAYS: Sequence[Header] = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)


class AnswerHeaders:
    """Adds them. Who came by TLS (so say the connection, a trusted proxy or `public_url`) is to come so again."""

    def __init__(self, settings: Settings) -> None:
        self._tls = settings.public_url.startswith("https://")
        self._only_tls = [(b"strict-transport-security", b"max-age=%d" % settings.hsts_seconds)]
        self._hsts = settings.hsts_seconds > 0

    def of(self, scheme: str) -> Sequence[Header]:
        """Return what belongs on the answer to one who came by http or https."""
        only_tls = self._hsts and (self._tls or scheme == "https")
        return (*ALWAYS, *self._only_tls) if only_tls else ALWAYS

    async def add(self, message: Message, scope: Scope) -> None:
        """Put on an answer's head what is not there yet."""
        if message["type"] != "http.response.start":
            return
        given = list(message.get("headers", []))
        names = {name.lower() for name, _ in given}
        more = self.of(scope["scheme"])
        message["headers"] = [*given, *(header for header in more if header[0] not in names)]
