"""The options of the queue of tasks, and of their webhooks."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions:
    """How tasks are worked on."""

    concurrency: int = field(default=2, metadata={"doc": "Tasks that one node works on at a time."})
    timeout: float = field(
        default=300.0,
        metadata={"doc": "Seconds that a task's picture may take once its turn has come; after that the task fails."},
    )
    polling: float = field(default=0.1, metadata={"doc": "Seconds between two looks into the queue."})
    lease: float = field(
        default=12.0, metadata={"doc": "Seconds of silence after which a node counts as dead and its tasks move on."}
    )
    beat: float = field(default=3.0, metadata={"doc": "Seconds between two signs of life of a node."})
    grace: float = field(default=10.0, metadata={"doc": "Seconds that running tasks get when the server stops."})
    retention: float = field(default=86_400.0, metadata={"doc": "Seconds that finished tasks are remembered."})
    attempts: int = field(
        default=3,
        metadata={"doc": "A task fails whose worker died so often while it worked on that picture and nothing else."},
    )
    probation: float = field(
        default=10.0,
        metadata={
            "doc": "Seconds before such a picture is tried again, alone; six times as long after each further death."
        },
    )
    webhook_timeout: float = field(default=5.0, metadata={"doc": "Seconds that a webhook's receiver may take."})
    webhook_secret: str = field(
        default="",
        repr=False,
        metadata={"doc": "Signs webhooks that have no secret of their own: 24 to 64 bytes in base64. Empty: unsigned."},
    )
    webhook_retries: int = field(
        default=20,
        metadata={"doc": "How often a webhook that failed is sent again; with the default pause, over 11 hours."},
    )
    webhook_pause: float = field(
        default=5.0,
        metadata={"doc": "Seconds before a webhook is sent again; doubled each further time, up to an hour."},
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
