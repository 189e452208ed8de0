"""The list of the pictures, and the shards that it is cut into."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.bulk.work import EMPTY, job_for

from mattebox import bulk
from mattebox.bulk import BulkJob, manifest
from mattebox.edit import Color, Edit, Format, Output
from mattebox.errors import Kind, MatteboxError
from mattebox.object_store import ObjectStore


@pytest.fixture
def job(tmp_path: Path) -> BulkJob:
    (tmp_path / "in").mkdir()
    return job_for(tmp_path / "in", tmp_path / "out")


def write(folder: Path, *names: str) -> None:
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(EMPTY)


def shards(job: BulkJob) -> list[list[str]]:
    plan, target = bulk.open_plan(job), bulk.open_target(job)
    return [manifest.read_shard(target, plan, each) for each in range(plan.shards)]


def refusal(job: BulkJob, **arguments: str | bool) -> MatteboxError:
    with pytest.raises(MatteboxError) as caught:
        bulk.make_plan(job, **arguments)  # type: ignore[arg-type]
    return caught.value


def test_a_folder_is_listed_in_order_and_cut(job: BulkJob, tmp_path: Path) -> None:
    write(
        tmp_path / "in",
        "c.jpg",
        "a/ü 1.PNG",
        "a/e\u0301#2.webp",
        "b.heic",
        "d%20.tif",
        ".hidden.png",
        "notes.txt",
        "a/.x/y.png",
    )
    plan = bulk.make_plan(job, shard_size=2)
    assert shards(job) == [["a/e\u0301#2.webp", "a/ü 1.PNG"], ["b.heic", "c.jpg"], ["d%20.tif"]]
    assert (plan.shards, plan.pictures, plan.passed_over) == (3, 5, 3)
    assert [plan.size_of(each) for each in range(3)] == [2, 2, 1]


def test_a_result_is_named_by_the_photo_and_by_no_other() -> None:
    plan = bulk.Plan(id="x", source="", edit="", format=Format.JPEG, pictures=1, shard_size=1)
    assert plan.result("a/b.png") == "a/b.png.jpg"
    assert plan.result("a/b.jpg") != plan.result("a/b.png")


def test_a_plan_stays_though_the_source_changes_until_it_is_made_again(job: BulkJob, tmp_path: Path) -> None:
    write(tmp_path / "in", "a.jpg")
    first = bulk.make_plan(job)
    write(tmp_path / "in", "b.jpg")
    assert bulk.make_plan(job, shard_size=7) == first
    assert bulk.open_plan(job) == first
    again = bulk.make_plan(job, again=True)
    assert again.id != first.id
    assert shards(job) == [["a.jpg", "b.jpg"]]


def test_of_two_that_plan_at_once_both_get_one_plan(
    job: BulkJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "in", *(f"{i}.jpg" for i in range(9)))
    together = Barrier(2)
    write_shards = manifest._write_shards

    def written_together(*arguments: object) -> None:
        write_shards(*arguments)  # type: ignore[arg-type]
        together.wait(60)

    monkeypatch.setattr(manifest, "_write_shards", written_together)
    with ThreadPoolExecutor(2) as pool:
        plans = [each.result() for each in [pool.submit(bulk.make_plan, job, shard_size=2) for _ in range(2)]]
    assert plans[0] == plans[1] == bulk.open_plan(job)
    folders = [
        each for each in (tmp_path / "out" / "_bulk").iterdir() if each.is_dir() and any(each.rglob("*.parquet"))
    ]
    assert [each.name for each in folders] == [plans[0].id]


def test_a_plan_that_was_sent_twice_keeps_its_shards(
    job: BulkJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "in", "a.jpg")
    put_new = ObjectStore.put_new

    def sent_twice(store: ObjectStore, key: str, data: bytes, *, media_type: str) -> bool:
        put_new(store, key, data, media_type=media_type)  # its answer is lost
        return put_new(store, key, data, media_type=media_type)

    monkeypatch.setattr(ObjectStore, "put_new", sent_twice)
    bulk.make_plan(job)
    assert shards(job) == [["a.jpg"]]


def test_another_source_or_edit_needs_another_target(job: BulkJob, tmp_path: Path) -> None:
    write(tmp_path / "in", "a.jpg")
    write(tmp_path / "in2", "a.jpg")
    bulk.make_plan(job)
    others = [
        job_for(tmp_path / "in2", tmp_path / "out"),
        job_for(tmp_path / "in", tmp_path / "out", Edit(output=Output(format=Format.WEBP))),
        job_for(tmp_path / "in", tmp_path / "out", Edit(backdrop=Color(1, 2, 3))),
        BulkJob(source=job.source, target=job.target, edit=job.edit, behind=b"picture"),
    ]
    for other in others:
        assert refusal(other).kind is Kind.CONFLICT
        with pytest.raises(MatteboxError, match="Choose another target"):
            bulk.open_plan(other)


def test_something_else_in_the_place_of_a_plan(job: BulkJob, tmp_path: Path) -> None:
    write(tmp_path / "in", "a.jpg")
    (tmp_path / "out" / "_bulk").mkdir(parents=True)
    (tmp_path / "out" / "_bulk" / "plan.json").write_text('{"id": 7}')
    assert refusal(job).kind is Kind.CONFLICT


def test_a_shard_needs_a_plan_and_its_number(job: BulkJob, tmp_path: Path) -> None:
    with pytest.raises(MatteboxError, match="--plan-only first"):
        bulk.open_plan(job)
    write(tmp_path / "in", "a.jpg")
    plan = bulk.make_plan(job)
    for shard in (-1, 1):
        with pytest.raises(MatteboxError, match="shards 0 to 0") as caught:
            manifest.read_shard(bulk.open_target(job), plan, shard)
        assert caught.value.kind is Kind.INVALID_PARAMETER


def test_a_source_that_is_not_there_or_empty(job: BulkJob, tmp_path: Path) -> None:
    assert refusal(job).kind is Kind.NOT_FOUND
    missing = refusal(job_for(tmp_path / "nowhere", tmp_path / "out"))
    assert missing.kind is Kind.NOT_FOUND
    assert "nowhere" in missing.message
    assert not (tmp_path / "nowhere").exists()
    assert not (tmp_path / "out" / "_bulk").exists()


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("s3://bucket/photos", "s3://bucket/photos"),
        ("s3://bucket/photos/", "s3://bucket/photos/out"),
        ("s3://bucket/photos/in", "s3://bucket/photos"),
        ("s3://bucket", "s3://bucket/out"),
        ("file:///tmp/a", "file:///tmp/a/b"),
        ("file:///tmp/a", "file:///tmp/b/../a/c"),
        ("file:///tmp/a", "file://localhost/tmp/a/c"),
        ("file:///tmp/a", "memory:///"),
    ],
)
def test_source_and_target_lie_apart(source: str, target: str) -> None:
    error = refusal(BulkJob(source=source, target=target, edit=Edit()))
    assert (error.kind, error.parameter) == (Kind.INVALID_PARAMETER, "target")


@pytest.mark.posix
def test_a_target_in_the_source_by_a_link(job: BulkJob, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "in")
    assert refusal(job_for(tmp_path / "in", tmp_path / "link" / "out")).parameter == "target"


def test_names_that_only_begin_alike_are_apart(tmp_path: Path) -> None:
    write(tmp_path / "in", "a.jpg")
    assert bulk.make_plan(job_for(tmp_path / "in", tmp_path / "in-results")).pictures == 1


def test_a_path_becomes_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert bulk.address("phötos") == (tmp_path.resolve() / "phötos").as_uri()
    assert bulk.address("s3://bucket/x") == "s3://bucket/x"


@pytest.mark.posix
def test_a_name_that_is_no_text_is_named(job: BulkJob, tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path / "in") + b"/\xff.png")).write_bytes(EMPTY)
    error = refusal(job)
    assert error.kind is Kind.INVALID_PARAMETER
    assert "udcff.png is not UTF-8" in error.message


# --- manifests -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["csv", "parquet", "address"])
def test_a_manifest_names_the_photos_each_once(job: BulkJob, tmp_path: Path, kind: str) -> None:
    keys = ["b.jpg", "007", "a/ü.png", "b.jpg", 'a, "b".jpg', "NA"]
    file = tmp_path / f"list.{kind}"
    if kind == "csv":
        file.write_text('size,name\n1,b.jpg\n2,007\n3,a/ü.png\n4,b.jpg\n5,"a, ""b"".jpg"\n6,"NA"\n', "utf-8")
    else:
        pq.write_table(
            pa.table({"size": range(6), "name": pa.array(keys).dictionary_encode() if kind == "address" else keys}),
            file,
        )
    bulk.make_plan(job, manifest=file.as_uri() if kind == "address" else str(file), column="name", shard_size=3)
    assert shards(job) == [["007", "NA", 'a, "b".jpg'], ["a/ü.png", "b.jpg"]]


def test_another_manifest_is_not_passed_over(job: BulkJob, tmp_path: Path) -> None:
    for name in ("one.csv", "two.csv"):
        (tmp_path / name).write_text(f"key\n{name}.jpg\n")
    plan = bulk.make_plan(job, manifest=str(tmp_path / "one.csv"))
    assert bulk.make_plan(job, manifest=str(tmp_path / "one.csv")) == plan
    assert bulk.make_plan(job) == plan
    error = refusal(job, manifest=str(tmp_path / "two.csv"))
    assert error.kind is Kind.CONFLICT
    assert "--again" in error.message
    bulk.make_plan(job, manifest=str(tmp_path / "two.csv"), again=True)
    assert shards(job) == [["two.csv.jpg"]]


def test_a_manifest_without_the_column(job: BulkJob, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("name,size\na.jpg,1\n")
    pq.write_table(pa.table({"name": ["a.jpg"]}), tmp_path / "list.parquet")
    for file in ("list.csv", "list.parquet"):
        error = refusal(job, manifest=str(tmp_path / file), column="path")
        assert error.parameter == "column"
        assert "'path'" in error.message
        assert "'name'" in error.message


def test_a_manifest_that_cannot_be_meant(job: BulkJob, tmp_path: Path) -> None:
    pq.write_table(pa.table({"key": [1, 2]}), tmp_path / "numbers.parquet")
    pq.write_table(pa.table({"key": ["a.jpg", None]}), tmp_path / "nulls.parquet")
    (tmp_path / "empty.csv").write_text("key\n")
    (tmp_path / "ragged.csv").write_text("key,b\na.jpg\n")
    (tmp_path / "nothing.csv").write_text("")
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 torn")
    expected = {
        "numbers.parquet": (Kind.INVALID_PARAMETER, "column"),
        "nulls.parquet": (Kind.INVALID_PARAMETER, "manifest"),
        "empty.csv": (Kind.NOT_FOUND, None),
        "ragged.csv": (Kind.INVALID_PARAMETER, "manifest"),
        "nothing.csv": (Kind.INVALID_PARAMETER, "manifest"),
        "torn.parquet": (Kind.INVALID_PARAMETER, "manifest"),
        "missing.csv": (Kind.NOT_FOUND, "manifest"),
    }
    for name, (kind, parameter) in expected.items():
        for place in (str(tmp_path / name), (tmp_path / name).as_uri()):
            error = refusal(job, manifest=place)
            assert (name, error.kind, error.parameter) == (name, kind, parameter)
    assert not (tmp_path / "out" / "_bulk").exists()
