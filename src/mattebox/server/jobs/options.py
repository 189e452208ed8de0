"""The options of the queue of tasks, and of their webhooks."""

from __future__ import annotations

from dataclasses import dataclass

from mattebox.environment import option


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions:
    """How tasks are worked on."""

    concurrency: int = option(2, "Tasks that one node works on at a time.")
    timeout: float = option(
        300.0, "Seconds that a task's picture may take once its turn has come; after that the task fails."
    )
    polling: float = option(0.1, "Seconds between two looks into the queue.")
    lease: float = option(12.0, "Seconds of silence after which a node counts as dead and its tasks move on.")
    beat: float = option(3.0, "Seconds between two signs of life of a node.")
    grace: float = option(10.0, "Seconds that running tasks get when the server stops.")
    retention: float = option(86_400.0, "Seconds that finished tasks are remembered.")
    attempts: int = option(
        3, "A task fails whose worker died so often while it worked on that picture and nothing else."
    )
    probation: float = option(
        10.0, "Seconds before such a picture is tried again, alone; six times as long after each further death."
    )
    webhook_timeout: float = option(5.0, "Seconds that a webhook's receiver may take.")
    webhook_secret: str = option(
        "", "Signs webhooks that have no secret of their own: 24 to 64 bytes in base64. Empty: unsigned.", repr=False
    )
    webhook_retries: int = option(
        20, "How often a webhook that failed is sent again; with the default pause, over 11 hours."
    )
    webhook_pause: float = option(
        5.0, "Seconds before a webhook is sent again; doubled each further time, up to an hour."
    )

    def __post_init__(self) -> None:
        if self.concurrency < 1 or self.attempts < 1:
            raise ValueError("concurrency and attempts must be at least 1")
        positive = ("timeout", "polling", "beat", "retention", "webhook_timeout", "webhook_pause")
        if min(getattr(self, name) for name in positive) <= 0:
            raise ValueError(f"{', '.join(positive)} must be above 0")
        if self.webhook_retries < 0 or self.grace < 0 or self.probation < 0:
            raise ValueError("webhook_retries, grace and probation must not be negative")
        if self.lease < 2 * self.beat:
            raise ValueError("lease must be at least twice the beat")
