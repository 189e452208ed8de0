"""Tasks: edits that run later, and are lost by nothing that can happen to a process.

A task is one row. The row and the message that makes somebody work on it are written in one transaction, and so are a
finished row and the message that sends its webhook. What has been done is written down after each step, so whoever
takes a task over goes on from there. The row decides: only one worker can end a task, and only an unfinished one.

The queue itself is DBOS, a library that keeps everything in the same database. Nobody else imports it.
"""

from mattebox.server.jobs.queue import DEFECT, Tasks
from mattebox.server.jobs.values import Hook, Result, Status, Task, TaskOptions, Work

__all__ = ["DEFECT", "Hook", "Result", "Status", "Task", "TaskOptions", "Tasks", "Work"]
