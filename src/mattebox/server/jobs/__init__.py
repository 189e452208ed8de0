"""Tasks: edits that run later, and are lost by nothing that can happen to a process.

A task is one row. The row and the message that makes somebody work on it are written in one transaction, and so are a
finished row and the message that sends its webhook. Whoever takes a task over begins it
again. The row decides: only one worker can end a task, and only an unfinished one.

The queue itself is DBOS, a library that keeps everything in the same database. Nobody else imports it.
"""

from mattebox.server.jobs.options import TaskOptions
from mattebox.server.jobs.queue import Tasks
from mattebox.server.jobs.steps import DEFECT
from mattebox.server.jobs.tasks import Hook, Result, Status, Task, Work

__all__ = ["DEFECT", "Hook", "Result", "Status", "Task", "TaskOptions", "Tasks", "Work"]
