"""`mattebox bulk`, in this process and in processes that are killed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import pytest
from tests.bulk.work import DEADLY, DEATH, all_rows, check_whole, facts, files_of, job_for, small_models, write_photos
from typer.testing import CliRunner, Result

from mattebox import bulk
from mattebox.bulk import BulkJob, Status
from mattebox.cli import Components, app
from mattebox.errors import MatteboxError

PATIENCE = 300.0
MANY = 2000


def command(*arguments: str | Path) -> Result:
    components = Components(networks=lambda options, fetching: small_models())
    return CliRunner().invoke(app, ["bulk", *map(str, arguments)], obj=components, catch_exceptions=False)


def start(*arguments: str | Path, models: str = "small_models") -> subprocess.Popen[str]:
    code = (
        f"from mattebox.cli import Components, app; from tests.bulk.work import {models}\n"
        f"app(obj=Components(networks=lambda options, fetching: {models}()))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, "bulk", *map(str, arguments)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def results(target: Path) -> int:
    return sum(1 for file in target.glob("ordner*/*.png"))


def wait_for_results(process: subprocess.Popen[str], target: Path, count: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while results(target) < count:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.01)


# --- what is typed and said ----------------------------------------------------------------------------------------


def test_a_folder_is_cut_out_and_reported(tmp_path: Path) -> None:
    write_photos(tmp_path / "in", 20)
    result = command(tmp_path / "in", tmp_path / "out", "--shard-size", "6")
    assert result.exit_code == 0
    assert re.fullmatch(
        r"20 pictures: 18 ok, 1 without a subject, 1 failed; [\d.]+ pictures/s, [\d.]+ core-hours, 0 MB\.\n",
        result.stdout,
    )
    assert "_bulk/" in result.stderr
    assert "broken.csv" in result.stderr
    check_whole(job_for(tmp_path / "in", tmp_path / "out"), tmp_path / "in", tmp_path / "out")
    again = command(tmp_path / "in", tmp_path / "out", "--json")
    assert again.exit_code == 0
    assert json.loads(again.stdout)["ok"] == 18


def test_the_options_are_those_of_an_edit(tmp_path: Path) -> None:
    write_photos(tmp_path / "in", 3)
    write_photos(tmp_path / "behind", 1)
    behind = tmp_path / "behind" / "ordner 0" / "bïld0000.png"
    made = command(tmp_path / "in", tmp_path / "out", "--format", "jpeg", "--background-image", behind, "--crop")
    assert made.exit_code == 0
    assert set(files_of(tmp_path / "out")) == {f"ordner {n}/bïld000{n}.png.jpg" for n in range(3)}
    other = command(tmp_path / "in", tmp_path / "out", "--format", "jpeg", "--background", "red")
    assert other.exit_code == 1
    assert "other options" in other.stderr
    assert command(tmp_path / "in", tmp_path / "out2", "--margin", "5%").exit_code == 2


def test_one_shard_at_a_time(tmp_path: Path) -> None:
    write_photos(tmp_path / "in", 20)
    places = (tmp_path / "in", tmp_path / "out")
    early = command(*places, "--shard", "0")
    assert early.exit_code == 1
    assert "--plan-only" in early.stderr
    assert command(*places, "--plan-only", "--shard-size", "8").stdout == "3\n"
    assert files_of(tmp_path / "out") == {}
    for shard in ("2", "0"):
        part = command(*places, "--shard", shard)
        assert (part.exit_code, part.stdout) == (0, "")
    assert results(tmp_path / "out") == 11
    assert command(*places, "--shard", "1").stdout.startswith("20 pictures: 18 ok")
    check_whole(job_for(*places), *places)
    beyond = command(*places, "--shard", "3")
    assert beyond.exit_code == 2
    assert "shards 0 to 2" in beyond.stderr


def test_what_is_typed_wrongly(tmp_path: Path) -> None:
    write_photos(tmp_path / "in", 1)
    (tmp_path / "list.csv").write_text("name\na.png\n")
    source, target = tmp_path / "in", tmp_path / "out"
    wrong: dict[tuple[str | Path, ...], tuple[int, str]] = {
        (tmp_path / "nowhere", target): (1, "not found"),
        (source, source / "out"): (2, "TARGET"),
        (source, "ftp://host/x"): (1, "s3://"),
        (source, target, "--manifest", tmp_path / "list.csv"): (2, "--column"),
        (source, target, "--manifest", tmp_path / "no.csv"): (1, "manifest cannot be read"),
        (source, target, "--shard", "1", "--again"): (2, "--shard"),
        (source, target, "--alpha-only", "--format", "zip"): (2, "--alpha-only"),
    }
    for arguments, (status, words) in wrong.items():
        result = command(*arguments)
        assert (arguments, result.exit_code) == (arguments, status)
        assert words in " ".join(result.stderr.replace("│", " ").split())
    assert files_of(target) == {}


def test_without_the_extra_it_says_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_photos(tmp_path / "in", 1)
    for module, extra in (("pyarrow", "bulk"), ("obstore", "bulk"), ("ray", "ray")):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, module, None)
            result = command(tmp_path / "in", tmp_path / "out", *(["--ray", "local"] if module == "ray" else []))
        assert result.exit_code == 1
        assert f"pip install 'mattebox[{extra}]'" in result.stderr


# --- processes that are killed -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many") / "in"
    write_photos(folder, MANY)
    return folder


@pytest.fixture(scope="module")
def undisturbed(many: Path) -> BulkJob:
    """The same photos in one go."""
    job = job_for(many, many.parent / "undisturbed")
    process = start(many, many.parent / "undisturbed", "--shard-size", "500")
    said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said
    return job


@pytest.mark.process
@pytest.mark.posix
@pytest.mark.slow
def test_what_was_killed_goes_on(many: Path, undisturbed: BulkJob, tmp_path: Path) -> None:
    target = tmp_path / "out"
    for count in (300, 700, 1400):  # in the first shard, the second and the third
        process = start(many, target, "--shard-size", "500")
        wait_for_results(process, target, count)
        process.kill()
        process.communicate()
        for file in target.glob("ordner*/*.png"):
            assert file.read_bytes()[-8:-4] == b"IEND"
    process = start(many, target)
    said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said
    assert said.startswith("2,000 pictures: 1,960 ok, 20 without a subject, 20 failed;")
    job = job_for(many, target)
    assert len(all_rows(job)) == len({row.key for row in all_rows(job)}) == MANY
    assert facts(job) == facts(undisturbed)
    assert files_of(target, killed=True) == files_of(many.parent / "undisturbed")


@pytest.mark.process
@pytest.mark.posix
@pytest.mark.slow
def test_two_processes_of_which_one_is_killed(many: Path, undisturbed: BulkJob, tmp_path: Path) -> None:
    target = tmp_path / "out"
    processes = [start(many, target, "--shard-size", "250") for _ in range(2)]
    wait_for_results(processes[0], target, 600)
    processes[0].kill()
    processes[0].communicate()
    said, _ = processes[1].communicate(timeout=PATIENCE)
    assert processes[1].returncode == 0, said
    assert facts(job_for(many, target)) == facts(undisturbed)


@pytest.mark.process
@pytest.mark.posix
@pytest.mark.parametrize(("sign", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_orderly_end(tmp_path: Path, sign: signal.Signals, status: int) -> None:
    write_photos(tmp_path / "in", 900)
    places = (tmp_path / "in", tmp_path / "out")
    process = start(*places)
    wait_for_results(process, tmp_path / "out", 20)
    process.send_signal(sign)
    said, _ = process.communicate(timeout=PATIENCE)
    assert (process.returncode, "Traceback" in said) == (status, False), said
    left = files_of(tmp_path / "out")
    assert 20 <= len(left) < 880
    assert not [name for name in left if not name.endswith(".png.png")]
    assert not list((tmp_path / "out").glob("_bulk/*/running/*"))
    assert command(*places).stdout.startswith("900 pictures: 882 ok")
    check_whole(job_for(*places), *places)


@pytest.mark.process
@pytest.mark.posix
def test_a_photo_that_kills_its_process_is_left_out_in_the_end(tmp_path: Path) -> None:
    write_photos(tmp_path / "in", 6)
    (tmp_path / "in" / "ordner 1" / "deadly.png").write_bytes(DEADLY)
    places = (tmp_path / "in", tmp_path / "out")
    ends: list[int] = []
    said = ""
    while 0 not in ends:
        process = start(*places, models="deadly_models")
        said, _ = process.communicate(timeout=PATIENCE)
        ends.append(process.returncode)
        assert len(ends) <= 5
    assert ends == [DEATH] * 4 + [0]
    assert said.startswith("7 pictures: 6 ok, 0 without a subject, 1 failed;")
    job = job_for(*places)
    (broken,) = (row for row in all_rows(job) if row.status is Status.ERROR)
    assert broken.key == "ordner 1/deadly.png"
    assert broken.error == "The process ended 2 times while it worked on this picture."
    assert len(files_of(tmp_path / "out", killed=True)) == 6
    assert not list((tmp_path / "out").glob("_bulk/*/running/*"))


# --- a store that fails now and then -------------------------------------------------------------------------------


class _S3(ThreadingHTTPServer):
    """A bucket in memory, of which every third request fails."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _S3Request)
        self.objects: dict[str, bytes] = {}
        self.lock = threading.Lock()
        self.requests = 0
        self.failures = 0


class _S3Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _S3

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        key = unquote(urlsplit(self.path).path).removeprefix("/bucket").removeprefix("/")
        query = parse_qs(urlsplit(self.path).query)
        with self.server.lock:
            self.server.requests += 1
            fails = self.server.requests % 3 == 0
            self.server.failures += fails
            if fails:
                # Also after the work is done, as where only the answer is lost.
                if self.command == "PUT" and self.server.requests % 2:
                    self._act(key, query, body)
                status, answer = 503, b"<Error><Code>SlowDown</Code></Error>"
            else:
                status, answer = self._act(key, query, body)
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.send_header("ETag", '"x"')
        self.send_header("Last-Modified", "Fri, 27 Nov 2026 00:00:00 GMT")
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else answer)

    def _act(self, key: str, query: dict[str, list[str]], body: bytes) -> tuple[int, bytes]:
        objects = self.server.objects
        match self.command:
            case "PUT" if self.headers.get("If-None-Match") == "*" and key in objects:
                return 412, b""
            case "PUT":
                objects[key] = body
                return 200, b""
            case "POST":
                keys = re.findall(r"<Key>(.*?)</Key>", body.decode())
                for each in keys:
                    objects.pop(each, None)
                deleted = "".join(f"<Deleted><Key>{each}</Key></Deleted>" for each in keys)
                return 200, f"<DeleteResult>{deleted}</DeleteResult>".encode()
            case _ if "list-type" in query:
                return 200, self._listing(query.get("prefix", [""])[0])
            case _ if key in objects:
                return 200, objects[key]
        return 404, b"<Error><Code>NoSuchKey</Code></Error>"

    def _listing(self, prefix: str) -> bytes:
        found = [key for key in sorted(self.server.objects) if key.startswith(prefix)]
        entries = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(self.server.objects[key])}</Size>"
            "<LastModified>2026-11-27T00:00:00Z</LastModified><ETag>x</ETag></Contents>"
            for key in found
        )
        return f"<ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>".encode()

    do_GET = do_PUT = do_POST = do_HEAD = _serve  # noqa: N815

    def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002


@pytest.fixture
def shaky(monkeypatch: pytest.MonkeyPatch) -> Iterator[_S3]:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    with _S3() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        yield server
        server.shutdown()


def test_a_store_that_fails_now_and_then(shaky: _S3, tmp_path: Path) -> None:
    write_photos(tmp_path / "in", 20)
    for file in (tmp_path / "in").rglob("*.png"):
        shaky.objects[f"in/{file.relative_to(tmp_path / 'in').as_posix()}"] = file.read_bytes()
    result = command("s3://bucket/in", "s3://bucket/out", "--shard-size", "7")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("20 pictures: 18 ok, 1 without a subject, 1 failed;")
    assert shaky.failures > 20
    command(tmp_path / "in", tmp_path / "out", "--shard-size", "7")
    job = BulkJob(source="s3://bucket/in", target="s3://bucket/out", edit=job_for(tmp_path, tmp_path).edit)
    assert facts(job) == facts(job_for(tmp_path / "in", tmp_path / "out"))
    for row in all_rows(job):
        assert row.target is None or len(shaky.objects[f"out/{row.target}"]) == row.bytes


def test_a_bucket_that_does_not_exist(shaky: _S3) -> None:
    shaky.objects.clear()
    with pytest.raises(MatteboxError, match="no photos"):
        bulk.make_plan(
            BulkJob(source="s3://bucket/in", target="s3://bucket/out", edit=job_for(Path("/a"), Path("/b")).edit)
        )
