"""The client people import: `from milpa import Client, AsyncClient`.

    with Client() as milpa:
        job = milpa.submit("deal-picker", problem, files=["xlsx", "pdf"])
        for event in milpa.events(job):
            print(event.type, event.data)
        print(milpa.result(job).objective, milpa.download(job, to="out"))

Errors are those of `milpa.errors`: `UsageError` (`RefusedError` with all issues, when the API refused it),
`TransientError` (away or overloaded, even after retries) and `FatalError` (a mistake of the server).
"""

from milpa.client.answers import (
    ApiKey,
    AuditEntry,
    Batch,
    BatchProgress,
    Children,
    Comparison,
    Erased,
    Export,
    Frontier,
    JobReport,
    JobResult,
    KindDetail,
    KindSummary,
    Schedule,
    ScheduleRun,
    SubmittedBatch,
    Webhook,
    WebhookDelivery,
    WebhookSecret,
    WhyNot,
)
from milpa.client.clients import AsyncClient, Client
from milpa.client.exchange import RefusedError
from milpa.issues import Issue

__all__ = [
    "ApiKey",
    "AsyncClient",
    "AuditEntry",
    "Batch",
    "BatchProgress",
    "Children",
    "Client",
    "Comparison",
    "Erased",
    "Export",
    "Frontier",
    "Issue",
    "JobReport",
    "JobResult",
    "KindDetail",
    "KindSummary",
    "RefusedError",
    "Schedule",
    "ScheduleRun",
    "SubmittedBatch",
    "Webhook",
    "WebhookDelivery",
    "WebhookSecret",
    "WhyNot",
]
