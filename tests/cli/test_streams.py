"""The standard streams: pipes, streams that fail, and Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.cli.command import PHOTO, mattebox, names, opened, photos, process

# --- the standard streams ----------------------------------------------------------------------------------------


@pytest.mark.process
@pytest.mark.parametrize("more", [[], ["-o", "-"]])
def test_a_pipe(more: list[str]) -> None:
    made = subprocess.run(process("remove", "-", *more), input=PHOTO, capture_output=True, check=True)
    assert opened(made.stdout).size == (120, 90)
    assert made.stderr == b""


def test_a_file_to_the_standard_output_in_another_format(tmp_path: Path) -> None:
    photos(tmp_path, "a.png")
    result = mattebox("remove", tmp_path / "a.png", "-o", "-", "--format", "webp")
    assert opened(result.stdout_bytes).format == "WEBP"
    assert names(tmp_path) == {"a.png"}


def test_the_standard_input_to_a_file(tmp_path: Path) -> None:
    result = mattebox("remove", "-", "-o", tmp_path / "x.png", "--json", stdin=PHOTO)
    assert opened(tmp_path / "x.png").size == (120, 90)
    told = json.loads(result.stdout)
    assert (told["input"], told["output"]) == ("-", str(tmp_path / "x.png"))


@pytest.mark.process
def test_rubbish_in_a_pipe_gives_nothing_out() -> None:
    for data in (b"", b"rubbish"):
        made = subprocess.run(process("remove", "-"), input=data, capture_output=True, check=False)
        assert made.returncode == 1
        assert made.stdout == b""
        assert made.stderr.startswith(b"-: ")
        assert b"Traceback" not in made.stderr


@pytest.mark.process
def test_a_picture_is_not_written_to_a_terminal() -> None:
    ours, theirs = os.openpty()
    try:
        made = subprocess.run(process("remove", "-"), input=PHOTO, stdout=theirs, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(theirs)
        os.close(ours)
    assert made.returncode == 2
    assert b"terminal" in made.stderr


@pytest.mark.process
def test_a_reader_that_goes_away_is_no_defect() -> None:
    running = subprocess.Popen(
        process("remove", "-"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert running.stdout is not None
    running.stdout.close()
    running.stdout = None
    _, said = running.communicate(PHOTO)
    assert running.returncode == 1
    assert b"Traceback" not in said


# --- streams that cannot be used ---------------------------------------------------------------------------------


def shell(line: str, folder: Path, **env: str) -> subprocess.CompletedProcess[bytes]:
    """Run a line of a shell, in which $M is the command line with a fake network, in a folder with `a.png`."""
    photos(folder, "a.png")
    (folder / "m").write_text(process()[2])
    environment = os.environ | {"M": f"{sys.executable} {folder / 'm'}"} | env
    return subprocess.run(["sh", "-c", line], cwd=folder, env=environment, capture_output=True, check=False)


@pytest.mark.process
@pytest.mark.parametrize(
    "command",
    [
        "remove a.png -o -",
        "remove a.png -o x.png --json",
        "replace a.png -o x.png --color red --json",
        "--help",
        "--version",
        "models list",
        "models path",
        "scenes list --json",
    ],
)
@pytest.mark.parametrize(
    ("where", "sentence"),
    [("> /dev/full", b"cannot be written: No space left on device."), (">&-", b"is closed.")],
)
def test_a_standard_output_that_fails_is_a_sentence(command: str, where: str, sentence: bytes, tmp_path: Path) -> None:
    done = shell(f"$M {command} {where}", tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith(b"The standard output " + sentence)
    assert done.stderr.count(b"The standard output") == 1
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr


@pytest.mark.process
@pytest.mark.parametrize(
    ("where", "sentence"),
    [("<&-", b"The standard input is closed."), ("0> written", b"The standard input cannot be read")],
)
def test_a_standard_input_that_fails_is_a_sentence(where: str, sentence: bytes, tmp_path: Path) -> None:
    done = shell(f"$M remove - -o x.png {where}", tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(sentence)
    assert b"Traceback" not in done.stderr
    assert not (tmp_path / "x.png").exists()


@pytest.mark.process
@pytest.mark.parametrize("where", ["2>&-", "2> /dev/full", "<&- >&- 2>&-"])
def test_nobody_to_talk_to_is_no_failure(where: str, tmp_path: Path) -> None:
    done = shell(f"$M remove a.png -o x.png {where}", tmp_path)
    assert (done.returncode, done.stdout) == (0, b"")
    assert opened(tmp_path / "x.png").size == (120, 90)
    assert shell(f"$M remove none.png -o y.png {where}", tmp_path).returncode == 1


@pytest.mark.process
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp932", "utf-8"])
@pytest.mark.parametrize("command", ["models list", "scenes list", "--help", "remove --help"])
def test_a_stream_shows_what_it_can(command: str, encoding: str, tmp_path: Path) -> None:
    done = shell(f"$M {command}", tmp_path, PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    done.stdout.decode("utf-8" if encoding == "ascii" else encoding)  # click takes ASCII for a slip
    if command == "models list":
        assert b"u2netp" in done.stdout


@pytest.mark.process
def test_a_path_that_is_no_text_comes_out_as_it_is(tmp_path: Path) -> None:
    done = shell("$M models path", tmp_path, MATTEBOX_MODELS_DIRECTORY=os.fsdecode(b"/x\xff"))
    assert (done.returncode, done.stdout) == (0, b"/x\xff\n")


# --- stopping ----------------------------------------------------------------------------------------------------


@pytest.mark.process
def test_ctrl_c_leaves_nothing_half_written(tmp_path: Path) -> None:
    top, out = tmp_path / "in", tmp_path / "out"
    photos(top, *(f"{number:03}.png" for number in range(400)))
    running = subprocess.Popen(process("remove", top, "-o", out), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 30
    while not (out.exists() and len(names(out)) > 5) and time.monotonic() < deadline:
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    stdout, said = running.communicate(timeout=20)
    assert running.returncode == 130
    assert stdout == b""
    assert b"Traceback" not in said
    made = names(out)
    assert 5 < len(made) < 400
    for name in made:
        assert opened(out / name).size == (120, 90)


@pytest.mark.process
def test_ctrl_c_ends_a_wait_for_the_standard_input() -> None:
    running = subprocess.Popen(
        process("remove", "-"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    time.sleep(3)
    running.send_signal(signal.SIGINT)
    assert running.wait(timeout=10) == 130
    running.communicate()


@pytest.mark.process
@pytest.mark.posix
def test_a_second_ctrl_c_ends_the_process_at_once(tmp_path: Path) -> None:
    code = """
import signal, threading
from mattebox.cli import Components, main
class Stuck:
    def warm(self, name): ...
    def segmenter(self, name):
        return self.never
    def never(self, rgb):  # in a thread of its own, as native code that no signal reaches
        print("busy", flush=True)
        while signal.getsignal(signal.SIGINT) is not signal.SIG_DFL:
            threading.Event().wait(0.01)
        print("winding down", flush=True)
        threading.Event().wait()
main(Components(networks=lambda options, fetching: Stuck()))
"""
    photos(tmp_path / "in", "a.png", "b.png")
    args = ["remove", str(tmp_path / "in"), "-o", str(tmp_path / "out")]
    running = subprocess.Popen([sys.executable, "-c", code, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert running.stdout is not None
    for word in (b"busy\n", b"winding down\n"):
        assert running.stdout.readline() == word
        running.send_signal(signal.SIGINT)
    try:
        assert running.communicate(timeout=60) == (b"", b"")
    finally:
        running.kill()
    assert running.returncode == -signal.SIGINT
