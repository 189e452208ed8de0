"""A folder or a bucket of pictures, in shards: any number of machines can work on one target, and any can be killed.

`manifest` lists the pictures once and cuts the list into shards, `shard` does one shard, `report` sums up what became
of them. A shard whose rows are at the target is done; there is no other state to lose. Whoever calls `run_shard` is a
runner: this process (`run_here`), a pod of a Kubernetes job (with the shard's number), a worker of a server's queue
(`server.jobs.shards`), or a Ray cluster (`ray`).
"""

from mattebox.bulk.manifest import BulkJob, Plan, address, make_plan, open_plan, open_target, pending, read_plan
from mattebox.bulk.report import Report, report
from mattebox.bulk.shard import FileEngine, Row, Status, Summary, run_here, run_shard

__all__ = [
    "BulkJob",
    "FileEngine",
    "Plan",
    "Report",
    "Row",
    "Status",
    "Summary",
    "address",
    "make_plan",
    "open_plan",
    "open_target",
    "pending",
    "read_plan",
    "report",
    "run_here",
    "run_shard",
]
