"""What a running solve tells the world, and what the world may tell it."""

from typing import Protocol


class Progress(Protocol):
    """The line between a solve and whoever watches it. Every call is cheap and safe from any thread."""

    def phase(self, name: str, fraction: float | None = None) -> None:
        """Enter a phase (`build`, `solve`, `explain`, `verify`, `render`); fraction: share done, 0 to 1."""

    def incumbent(self, objective: float | None, bound: float | None) -> None:
        """Report the best solution so far and the proven bound, in the unit of the objective; None: not known yet."""

    def stop_requested(self) -> bool:
        """Tell whether the solve should end now and keep the best it has."""
        ...


class Silent:
    """A Progress that nobody watches: for tests, benchmarks and nested solves."""

    def phase(self, name: str, fraction: float | None = None) -> None:
        """Ignore."""

    def incumbent(self, objective: float | None, bound: float | None) -> None:
        """Ignore."""

    def stop_requested(self) -> bool:
        """Never."""
        return False
