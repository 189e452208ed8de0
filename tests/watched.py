"""Programs that are watched for whom they contact and what they leave behind.

What runs is watched as a proxy that every client is told to use, by Python's audit events in each of its processes, by
its system calls where strace can be used, and by the contents of its folders afterwards.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import final

import pytest

from mattebox.models import Models

AUDIT = """
import json, os, sys

report = os.open(os.environ["AUDIT_REPORT"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT

def audit(event, arguments):
    if event == "open" and arguments[2] & WRITES and not isinstance(arguments[0], int):
        said = ["file", os.path.realpath(os.fsdecode(arguments[0]))]
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        said = ["host", str(arguments[0])]
    elif event in ("socket.connect", "socket.sendto", "socket.sendmsg") and isinstance(arguments[1], tuple):
        said = ["host", str(arguments[1][0])]
    else:
        return
    os.write(report, json.dumps(said).encode() + b"\\n")

sys.addaudithook(audit)
"""
"""Python runs it at the start of each process, as `sitecustomize`."""

HERE = re.compile(r"127\.[\d.]+|::1|localhost|None")
PATIENCE = 120.0


@cache
def tracer() -> tuple[str, ...]:
    """The beginning of a command that writes down whom a program contacts; nothing where that is not possible."""
    found = shutil.which("strace")
    options = ("-f", "-qq", "--seccomp-bpf", "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-o")
    if found is None:
        return ()
    if subprocess.run([found, *options, os.devnull, "true"], check=False, capture_output=True).returncode:
        return ()
    # Beside the program, not above it: signals and the exit status are the program's own.
    return (found, "-D", *options)


@final
class Watched:
    """Runs programs in an empty folder, with an empty home and an empty folder for temporary files."""

    def __init__(self, folder: Path, listener: socket.socket) -> None:
        self._folder = folder
        self._listener = listener
        self._asked: list[str] = []
        self.home, self.temporary, self.here = (folder / name for name in ("home", "temporary", "here"))
        for each in (folder / "python", self.home, self.temporary, self.here):
            each.mkdir()
        (folder / "python" / "sitecustomize.py").write_text(AUDIT)
        proxy = f"http://127.0.0.1:{listener.getsockname()[1]}"
        # No more than this: neither `CI` nor another variable by which a package guesses that nobody wants to know.
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "TMPDIR": str(self.temporary),
            "PYTHONPATH": str(folder / "python"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
            "AUDIT_REPORT": str(folder / "audit"),
            "MATTEBOX_MODELS_DIRECTORY": str(Models().directory),
            "MATTEBOX_MODELS_DOWNLOAD": "false",
            "MATTEBOX_MODEL": "u2netp",
            **{f"{scheme}_proxy": proxy for scheme in ("http", "https", "all")},
        }
        threading.Thread(target=self._answer, daemon=True).start()

    def _answer(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed: the test has ended
                return
            with client:
                self._asked.append(client.recv(300).partition(b"\r\n")[0].decode(errors="replace"))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        log = [str(self._folder / f"calls-{time.monotonic_ns()}")] if tracer() else []
        with (self._folder / "said").open("w") as said:
            return subprocess.Popen(
                [*tracer(), *log, sys.executable, *arguments],
                cwd=self.here,
                env=self.environment,
                stdout=said,
                stderr=subprocess.STDOUT,
                text=True,
            )

    @property
    def said(self) -> str:
        return (self._folder / "said").read_text()

    def run(self, *arguments: str) -> None:
        assert self.start(*arguments).wait(PATIENCE) == 0, self.said

    def contacted(self) -> set[str]:
        """Whom the programs asked for, looked up or contacted, outside of this machine."""
        hosts = {host for host in self._reported("host") if not HERE.fullmatch(host)}
        for log in self._folder.glob("calls-*"):
            for port, host in re.findall(r'sin6?_port=htons\((\d+)\).*?"([^"]+)"', log.read_text()):
                if port == "53" or not HERE.fullmatch(host):
                    hosts.add(f"{host} port {port}")
        return hosts | set(self._asked)

    def written(self) -> set[str]:
        """The files that the programs wrote outside of mattebox's own folders, and what they left in others."""
        own = {path for path in self.home.rglob("*") if "mattebox" in path.relative_to(self.home).parts}
        own |= {parent for path in own for parent in path.parents}
        left = {path for folder in (self.home, self.temporary, self.here) for path in folder.rglob("*")} - own
        places = (Path(os.devnull).parent, self._folder, Models().directory.resolve())
        elsewhere = {file for file in map(Path, self._reported("file")) if not set(places) & set(file.parents)}
        return {str(path) for path in left | elsewhere}

    def _reported(self, kind: str) -> set[str]:
        lines = map(json.loads, (self._folder / "audit").read_text().splitlines())
        return {said for each, said in lines if each == kind}


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield Watched(tmp_path.resolve(), listener)
