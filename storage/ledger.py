"""The ledger: does the database keep the promise that no job is lost and none ends twice?"""

import msgspec

from storage.transaction import Database


class LedgerReport(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of broken promises, all zero when the house is in order; `jobs` is how many were looked at."""

    jobs: int
    ended: int
    lost: int
    without_terminal_event: int
    several_terminal_events: int
    duplicate_results: int
    stuck: int
    seq_gaps: int

    @property
    def ok(self) -> bool:
        """Whether every promise holds."""
        return not (
            self.lost
            + self.without_terminal_event
            + self.several_terminal_events
            + self.duplicate_results
            + self.stuck
            + self.seq_gaps
        )


async def check_ledger(database: Database) -> LedgerReport:
    """Check every job in the database."""
    ...
