"""An issuer of tokens, small and real: it serves its public keys over HTTP, and counts who asks."""

import json
import threading
import time
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

_ALGORITHMS = {"RS": jwt.algorithms.RSAAlgorithm, "ES": jwt.algorithms.ECAlgorithm}


@cache
def _keys(_name: str) -> tuple[rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey]:
    """Make the keys of that name, once for all issuers: it takes its time."""
    return rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP256R1())


class Issuer:
    """Signs with keys by name, each of which is an RSA and an EC key with the ids `<name>-RS256` and `<name>-ES256`."""

    def __init__(self) -> None:
        self.rsa: dict[str, rsa.RSAPrivateKey] = {}
        self.ec: dict[str, ec.EllipticCurvePrivateKey] = {}
        self.body = b'{"keys": []}'
        self.status = 200
        self.headers: dict[str, str] = {}
        self.seconds = 0.0
        self.asked = 0
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked += 1
                time.sleep(issuer.seconds)
                self.send_response(issuer.status)
                for name, value in issuer.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(issuer.body)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._serving = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}/keys"

    def publish(self, *names: str, **changes: Any) -> None:
        """Serve the public halves of these keys, and of no others. changes: members that all of them get."""
        keys = [{**key, **changes} for name in names for key in self._public(name)]
        self.body = json.dumps({"keys": keys}).encode()

    def sign(self, claims: dict[str, Any], algorithm: str, name: str, **head: Any) -> str:
        """Return a token signed with the key of that name."""
        self._public(name)
        key: Any = self.ec[name] if algorithm.startswith("ES") else self.rsa[name]
        headers = {"kid": f"{name}-{algorithm}", **head}
        return jwt.encode(
            claims, key, algorithm=algorithm, headers={field: value for field, value in headers.items() if value}
        )

    def _public(self, name: str) -> list[dict[str, Any]]:
        if name not in self.rsa:
            self.rsa[name], self.ec[name] = _keys(name)
        halves = {"RS256": self.rsa[name].public_key(), "ES256": self.ec[name].public_key()}
        return [
            {**json.loads(_ALGORITHMS[algorithm[:2]].to_jwk(key)), "kid": f"{name}-{algorithm}", "use": "sig"}
            for algorithm, key in halves.items()
        ]

    def __enter__(self) -> Self:
        self._serving.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
