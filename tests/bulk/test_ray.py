"""Shards on a Ray cluster of several nodes, all of them on this machine, one of which is killed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from tests.bulk.work import all_rows, facts, files_of, job_for, run_all, small_engine, write_photos
from typer.testing import CliRunner

from mattebox import bulk
from mattebox.bulk import Summary
from mattebox.cli import app
from mattebox.edit import Edit, Matte
from mattebox.errors import Kind, MatteboxError

pytestmark = [
    pytest.mark.ray,
    # Ray warns of its own settings, and leaves its processes' pipes to the end of the program.
    pytest.mark.filterwarnings(
        "ignore::DeprecationWarning:ray", "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
    ),
]
MANY = 2000


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A head that does no work, and two nodes of one processor each."""
    import ray
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    made.nodes = [made.add_node(num_cpus=1) for _ in range(2)]
    made.wait_for_nodes()
    ray.init(address=made.address, log_to_driver=False)
    try:
        yield made
    finally:
        ray.shutdown()
        made.shutdown()


def test_a_node_that_is_killed_loses_nothing(cluster: Any, tmp_path: Path) -> None:
    from mattebox.bulk.ray import run_on_ray

    source = tmp_path / "in"
    write_photos(source, MANY)
    job, alone = job_for(source, tmp_path / "out"), job_for(source, tmp_path / "alone")
    plan = bulk.make_plan(job, shard_size=100)
    told: list[Summary] = []
    killed_after: list[int] = []

    running = tmp_path / "out" / "_bulk" / plan.id / "running"

    def watch(summary: Summary) -> None:
        told.append(summary)
        # Once both nodes are in the middle of a shard, so that one is lost with its node.
        if not killed_after and len(told) >= 3 and len(list(running.iterdir())) == 2:
            cluster.remove_node(cluster.nodes[0], allow_graceful=False)
            killed_after.append(len(told))

    run_on_ray(job, plan, small_engine, actors=2, cpus=1, threads=2, done=watch)
    assert killed_after
    assert sorted(each.shard for each in told) == list(range(20))
    keys = [row.key for row in all_rows(job)]
    assert len(keys) == len(set(keys)) == MANY
    bulk.make_plan(alone, shard_size=100)
    run_all(alone)
    assert facts(job) == facts(alone)
    assert files_of(tmp_path / "out", killed=True) == files_of(tmp_path / "alone")
    made = bulk.report(bulk.open_target(job), plan)
    assert (made.ok, made.no_subject, made.errors) == (1960, 20, 20)
    print(f"{json.dumps(asdict(made))}; shards done when a node was killed: {killed_after}")


def test_a_model_that_is_unknown_is_said_as_anywhere_else(cluster: Any, tmp_path: Path) -> None:
    from mattebox.bulk.ray import run_on_ray

    write_photos(tmp_path / "in", 5)
    job = job_for(tmp_path / "in", tmp_path / "out", Edit(matte=Matte(model="unknown")))
    plan = bulk.make_plan(job)
    with pytest.raises(MatteboxError) as caught:
        run_on_ray(job, plan, small_engine, actors=2, threads=2, done=lambda summary: None)
    assert (caught.value.kind, caught.value.parameter) == (Kind.INVALID_PARAMETER, "model")
    assert bulk.pending(bulk.open_target(job), plan) == [0]


def test_the_command_on_a_cluster(cluster: Any, tmp_path: Path) -> None:
    """With the smallest of the real networks, each of two actors on half of the processors."""
    write_photos(tmp_path / "in", 12)
    arguments = ["--shard-size", "3", "--model", "u2netp", "--cpus", "1", "--actors", "2", "--json"]
    result = CliRunner().invoke(
        app, ["bulk", str(tmp_path / "in"), str(tmp_path / "out"), "--ray", cluster.address, *arguments]
    )
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert (said["pictures"], said["errors"]) == (12, 1)
    job = job_for(tmp_path / "in", tmp_path / "out", Edit(matte=Matte(model="u2netp")))
    assert len(all_rows(job)) == 12
