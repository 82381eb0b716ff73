"""What a person at the terminal is told while a stack starts and runs."""

import time

from rich.console import Console


class Teller:
    """Prints each step with its seconds, and what happens later with the time of day."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def begin(self, step: str) -> None:
        """Say on a screen what is being waited for; the line is written over when it is done."""
        if self._console.is_terminal:
            self._console.print(f"  [dim]… {step}[/]", end="\r", highlight=False)

    def done(self, step: str, seconds: float) -> None:
        """Say that a step is done."""
        self._console.print(f"  [green]✓[/] {step:<20} [dim]{seconds:5.2f} s[/]", highlight=False)

    def happened(self, line: str) -> None:
        """Say what happened to a part."""
        self._console.print(f"[dim]{time.strftime('%H:%M:%S')}[/] {line}", highlight=False)
