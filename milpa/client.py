"""The client people import."""


class Client:
    """Blocking client."""


class AsyncClient:
    """Asynchronous client."""
