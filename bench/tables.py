"""The measurements as tables and plots."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import plots

Records: TypeAlias = Sequence[Mapping[str, Any]]
_MIB = 2**20


def text(records: Records) -> str:
    """All tables for which there are measurements, as Markdown."""
    return "\n\n".join("\n".join(_table(row, records)) for row in TABLES if any(each["row"] == row for each in records))


def _table(row: str, records: Records) -> Iterator[str]:
    mine = [each for each in records if each["row"] == row]
    for each in mine:
        if "machine" in each:
            yield f"{each['machine']}; load average at the beginning {each['busy']:.1f}\n"
    yield from TABLES[row]([each for each in mine if "machine" not in each and "stopped" not in each])
    for each in mine:
        if "stopped" in each:
            named = (f"{each[key]:g} {key}" for key in ("megapixels", "clients") if key in each)
            yield f"\nNot measured: {', '.join([each.get('contestant', 'all'), *named])}: {each['stopped']}."


def _header(*names: str) -> Iterator[str]:
    yield f"| {' | '.join(names)} |"
    yield "|" + " --- |" * len(names)


def _groups(records: Records, *keys: str) -> dict[tuple[Any, ...], Records]:
    found: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for each in records:
        found.setdefault(tuple(each[key] for key in keys), []).append(each)
    return dict(found)


def _median(records: Records, key: str) -> float:
    return float(statistics.median(each[key] for each in records))


def _warm(records: Records) -> Iterator[str]:
    yield from _header(
        "warm, JPEG to RGBA PNG, megapixels",
        "contestant",
        "CPU-s, median",
        "of mattebox's",
        "wall s",
        "peak MiB",
        "runs",
    )
    groups = _groups(records, "megapixels", "contestant")
    for (size, name), runs in sorted(groups.items(), key=lambda pair: pair[0][0]):
        cpu = _median(runs, "cpu")
        ours = groups.get((size, "mattebox"))
        ratio = f"{cpu / _median(ours, 'cpu'):.2f}" if ours else "–"
        peak = max(each["peak"] for each in runs) / _MIB
        yield f"| {size:g} | {name} | {cpu:.2f} | {ratio} | {_median(runs, 'wall'):.2f} | {peak:.0f} | {len(runs)} |"


def _simple(title: str) -> Callable[[Records], Iterator[str]]:
    def table(records: Records) -> Iterator[str]:
        yield from _header(title, "wall s, median", "CPU-s, median", "peak MiB", "runs")
        for (name,), runs in _groups(records, "contestant").items():
            yield (
                f"| {name} | {_median(runs, 'wall'):.2f} | {_median(runs, 'cpu'):.2f} "
                f"| {_median(runs, 'peak') / _MIB:.0f} | {len(runs)} |"
            )

    return table


def _server(records: Records) -> Iterator[str]:
    yield from _header(
        "clients, 2.5 megapixels", "server", "pictures", "a second", "p50 s", "p95 s", "p99 s", "told to come back",
        "CPU-s a picture", "peak MiB",
    )  # fmt: skip
    for each in records:
        yield (
            f"| {each['clients']} | {each['contestant']} | {each['pictures']} | {each['rate']:.2f} | {each['p50']:.1f} "
            f"| {each['p95']:.1f} | {each['p99']:.1f} | {each['refused']} | {each['cpu']:.2f} "
            f"| {each['peak'] / _MIB:.0f} |"
        )


def _folder(records: Records) -> Iterator[str]:
    yield from _header(
        "a folder of 100, 0.3 and 2.5 megapixels", "done", "wall s", "pictures a second", "CPU-s a picture", "peak MiB"
    )
    for each in records:
        done = each["pictures"]
        cpu = f"{each['cpu'] / done:.2f}" if "cpu" in each and done else "–"
        peak = f"{each['peak'] / _MIB:.0f}" if "peak" in each else "–"
        yield f"| {each['contestant']} | {done} | {each['wall']:.0f} | {done / each['wall']:.2f} | {cpu} | {peak} |"


def _floors(records: Records) -> Iterator[str]:
    yield from _header("megapixels", "stage", "CPU-ms", "floor, ms", "times the floor", "floor of")
    for each in records:
        floor = each.get("floor")
        if not floor and each["cpu"] < 0.0005:  # a stage that this edit does not have
            continue
        known = f"{1000 * floor:.1f} | {each['cpu'] / floor:.1f} | {each['why']}" if floor else "– | – | –"
        yield f"| {each['megapixels']:g} | {each['contestant']} | {1000 * each['cpu']:.0f} | {known} |"


def _size(records: Records) -> Iterator[str]:
    yield from _header("installed", "packages MB", "default model's files MB")
    for each in records:
        yield f"| {each['contestant']} | {each['installed'] / 1e6:.0f} | {each['weights'] / 1e6:.0f} |"


def _start(records: Records) -> Iterator[str]:
    groups = {name: _median(runs, "wall") for (name,), runs in _groups(records, "contestant").items()}
    yield from _header("start", "wall s, median", "beyond the floor")
    for name, wall in groups.items():
        yield f"| {name} | {wall:.3f} | {wall - min(groups.values()):.3f} |"


def _pipeline(records: Records) -> Iterator[str]:
    groups = {name: runs for (name,), runs in _groups(records, "contestant").items()}
    yield from _header("12 MP JPEG to RGBA PNG, without the network", "CPU-ms, median", "ratio", "peak MiB")
    for name, runs in groups.items():
        cpu = _median(runs, "cpu")
        ratio = cpu / _median(groups["mattebox"], "cpu")
        yield f"| {name} | {1000 * cpu:.0f} | {ratio:.1f} | {_median(runs, 'peak') / _MIB:.0f} |"


def _colours(records: Records) -> Iterator[str]:
    yield from _header("colour error in the edge band, grey levels", "mean", "worst scene")
    for (name,), runs in _groups(records, "contestant").items():
        errors = [each["error"] for each in runs]
        yield f"| {name} | {statistics.mean(errors):.2f} | {max(errors):.2f} |"


TABLES: Mapping[str, Callable[[Records], Iterator[str]]] = {
    "warm": _warm,
    "cold": _simple("command, 2.5 megapixels"),
    "server": _server,
    "folder": _folder,
    "floors": _floors,
    "size": _size,
    "start": _start,
    "pipeline": _pipeline,
    "colours": _colours,
}


def drawings(records: Records) -> Iterator[tuple[str, str]]:
    """Plots as SVG, with the names of their files."""
    of: dict[str, Records] = {row: [] for row in TABLES}
    for row in of:
        of[row] = [each for each in records if each["row"] == row and "machine" not in each and "stopped" not in each]
    if of["warm"]:
        series: dict[str, list[tuple[float, float]]] = {}
        for (name, size), runs in sorted(_groups(of["warm"], "contestant", "megapixels").items()):
            series.setdefault(name, []).append((size, _median(runs, "cpu")))
        yield "warm.svg", plots.lines("Warm, JPEG to PNG", "megapixels", "CPU seconds", series)
    for key, title in (("rate", "pictures a second"), ("p95", "seconds until 95 % have their picture")):
        if of["server"]:
            by_name = {
                name: sorted((each["clients"], each[key]) for each in runs)
                for (name,), runs in _groups(of["server"], "contestant").items()
            }
            yield f"server-{key}.svg", plots.lines("Server, 2.5 megapixels", "clients", title, by_name)
    if of["cold"]:
        cold = {
            name: {"CPU seconds": _median(runs, "cpu")} for (name,), runs in _groups(of["cold"], "contestant").items()
        }
        yield "cold.svg", plots.bars("One command, one photo of 2.5 megapixels: CPU seconds", cold)
    if of["floors"]:
        largest = max(each["megapixels"] for each in of["floors"])
        stages = {
            each["contestant"]: {"measured": 1000 * each["cpu"], "floor": 1000 * each["floor"]}
            for each in of["floors"]
            if each["megapixels"] == largest and "floor" in each
        }
        yield "floors.svg", plots.bars(f"Stages of a photo of {largest:g} megapixels: CPU milliseconds", stages)
