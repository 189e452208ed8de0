from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import mattebox
from mattebox import codec, extras
from mattebox.errors import Kind, MatteboxError
from mattebox.samples import photo_file

CORE = Path(__file__).parents[1] / ".core"
SERVER_ONLY = {
    *("starlette", "fastapi", "uvicorn", "anyio", "sqlalchemy", "alembic", "dbos", "obstore", "pydantic_settings"),
    *(
        "prometheus_client",
        "structlog",
        "opentelemetry",
        "httpx2",
        "psycopg",
        "cryptography",
        "trustme",
        "onnx",
        "pyarrow",
        "ray",
        "mattebox.server",
    ),
}


def test_a_missing_package_is_one_sentence_with_the_line_to_type() -> None:
    with pytest.raises(MatteboxError) as caught, extras.needs("server", "The server", parameter="here"):
        importlib.import_module("no_such_package")
    assert caught.value.message == "The server needs an extra. Type: pip install 'mattebox[server]'"
    assert caught.value.kind is Kind.UNAVAILABLE
    assert caught.value.parameter == "here"
    assert isinstance(caught.value.__cause__, ImportError)


def test_a_missing_module_of_our_own_is_a_defect() -> None:
    with pytest.raises(ModuleNotFoundError), extras.needs("server", "The server"):
        importlib.import_module("mattebox.no_such_module")


def test_other_failures_pass() -> None:
    with pytest.raises(ZeroDivisionError), extras.needs("server", "The server"):
        print(1 / 0)


@pytest.mark.process
def test_a_library_user_loads_nothing_of_the_server(tmp_path: Path) -> None:
    code = (
        "import sys, mattebox\n"
        "from mattebox.engine import Engine\n"
        "from mattebox.testing import FakeModels, make_photo\n"
        "mattebox.remove_background(make_photo(), engine=Engine(FakeModels())).save(sys.argv[1])\n"
        "mattebox.model_options(), mattebox.backdrop_options()\n"
        "print(*sys.modules)\n"
    )
    # A wrong setting of a server is not the library's concern.
    environment = os.environ | {"MATTEBOX_TASKS_LEASE": "never", "MATTEBOX_MODELS_THREADS": "2"}
    command = [sys.executable, "-c", code, str(tmp_path / "cutout.png")]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert set(done.stdout.split()) & SERVER_ONLY == set()
    assert (tmp_path / "cutout.png").exists()


# --- with nothing but the library and the command line installed: `make test` makes the environment


def core(*command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """What a program of the environment says that has the core only, run outside of the project."""
    program = CORE / "bin" / command[0]
    assert program.exists(), "the environment with the core only is missing: run make test"
    return subprocess.run(
        [str(program), *command[1:]],
        env=os.environ | environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.process
def test_the_core_has_few_packages_and_none_of_the_servers(tmp_path: Path) -> None:
    code = "import importlib.metadata as m; print(*{d.metadata['Name'].lower() for d in m.distributions()})"
    packages = set(core("python", "-c", code, folder=tmp_path).stdout.split())
    assert "mattebox" in packages
    assert len(packages) <= 25
    assert not packages & {name.replace("_", "-") for name in SERVER_ONLY}


@pytest.mark.process
def test_the_core_is_imported_and_helps(tmp_path: Path) -> None:
    done = core("python", "-c", "import mattebox; print(mattebox.__version__, mattebox.__file__)", folder=tmp_path)
    version, file = done.stdout.split()
    assert version == mattebox.__version__
    assert CORE in Path(file).parents
    helped = core("mattebox", "--help", folder=tmp_path)
    assert helped.returncode == 0
    assert all(word in helped.stdout for word in ("remove", "replace", "bulk", "serve", "certificate", "database"))


@pytest.mark.process
def test_the_core_has_a_doctor(tmp_path: Path) -> None:
    done = core("mattebox", "doctor", folder=tmp_path, MATTEBOX_MODELS_DIRECTORY=str(tmp_path))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    lines = done.stdout.splitlines()
    assert "ok    server: not installed" in lines
    wrong = [line for line in lines if line.startswith("WRONG")]
    assert len(wrong) == 2
    assert all("is missing" in line for line in wrong)
    assert "      mattebox models pull isnet-general" in lines


@pytest.mark.process
@pytest.mark.model
def test_the_core_cuts_out(tmp_path: Path) -> None:
    assert core("python", "-m", "mattebox.samples", "demo", folder=tmp_path).returncode == 0
    assert (tmp_path / "demo" / "photo.jpg").read_bytes() == photo_file()
    done = core("mattebox", "remove", "demo/photo.jpg", "-o", "cutout.png", "--model", "u2netp", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    cutout = codec.decode((tmp_path / "cutout.png").read_bytes(), codec.OWN_FILES)
    assert cutout.alpha is not None
    assert cutout.alpha[450, 500] > 0.9  # the middle of the mug
    assert cutout.alpha[:100].max() < 0.1


@pytest.mark.process
@pytest.mark.parametrize(
    ("command", "environment", "what", "extra"),
    [
        (["serve"], {}, "The server", "server"),
        (["database", "status"], {}, "The server's database", "server"),
        (["keys", "list"], {}, "The server's keys", "server"),
        (["bulk", "in", "out"], {}, "The command bulk", "bulk"),
        (["certificate", "localhost"], {}, "Making a certificate", "tls"),
        (["remove", "a.jpg", "--foreground", "multilevel"], {}, "Multi-level foreground estimation", "multilevel"),
        (["remove", "a.jpg", "--device", "cuda"], {}, "The device cuda", "cuda"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_command_without_its_extra_says_what_to_type(
    command: list[str], environment: dict[str, str], what: str, extra: str, tmp_path: Path
) -> None:
    (tmp_path / "a.jpg").write_bytes(photo_file())
    if command[0] == "remove":
        command = [*command, "--model", "u2netp", "-o", "a.png"]
    done = core("mattebox", *command, folder=tmp_path, **environment)
    assert done.returncode == 1
    assert f"{what} needs an extra. Type: pip install 'mattebox[{extra}]'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.process
def test_a_painting_server_without_its_extra_says_what_to_type(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(photo_file())
    settings = {"MATTEBOX_BACKDROPS_GENERATORS": "openai", "MATTEBOX_BACKDROPS_URL": "http://127.0.0.1:9"}
    command = ["replace", "a.jpg", "--prompt", "a beach", "-o", "a.png"]
    done = core("mattebox", *command, folder=tmp_path, **settings)
    assert done.returncode == 1
    assert "A generator's server needs an extra. Type: pip install 'mattebox[remote]'" in done.stderr
