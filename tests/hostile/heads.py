"""First lines and headers that try paths, smuggle, inject, and go on for long."""

from __future__ import annotations

from collections.abc import Iterator

from tests.hostile.doors import Sent

_PATHS = (
    "/..", "/../etc/passwd", "/../../../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/..%2f..%2fetc%2fpasswd",
    "/%2e%2e%5c%2e%2e%5cwindows", "/..;/..;/", "/.%00./", "/%00", "/%0d%0aX-Injected:%201",
    "/%c0%ae%c0%ae/etc/passwd", "/%e0%80%ae/", "/%ff%fe", "/%", "/%zz", "/%u002e", "/%252e%252e%252f",
    "//evil.example/", "///", "/\\..\\", "/;/", "/~root", "/.git/config", "/.env", "/results/../../../etc/passwd",
    "/results/%2e%2e%2fmattebox.db", "/results/%00", "/results/..%5c..%5cmattebox.db", "/results/" + "x" * 5_000,
    "/results/.", "/results/" + "%2e" * 500, "/images/../../etc/passwd", "/images/%2e%2e%2f%2e%2e",
    "/images/%F0%9F%92%A3", "/studio/../settings.py", "/studio/%2e%2e/server/settings.py",
    "/static-offline-docs/../../etc/passwd", "/static-offline-docs/%2e%2e/%2e%2e/etc/passwd",
    "/api/v1/tasks/..%2f..%2fme", "/api/v1/tasks/%00", "/api/v1/tasks/" + "9" * 3_000, "/api/v1/images/..%2f",
    "/api/v1/images/' OR 1=1--", "/api/v1/images/%27%20OR%201=1--", "/api/v1/images?limit=99999999999999999999",
    "/api/v1/images?limit=-1", "/api/v1/images?start=%00", "/api/v1/images?start=" + "A" * 3_000,
    "/api/v1/tasks?after=%ff", "/api/v1/tasks?limit=1e9", "/api/v1/tasks?batch='",
    "/api/v1/scenes?prompt=" + "x" * 5_000, "/api/v1/scenes?prompt=%00", "/api/v1/scenes?prompt=%ed%a0%80",
    "/api/v1/scenes/..%2f..%2fpack.toml/thumbnail", "/api/v1/scenes/%00/thumbnail",
    "/v3/async/task-result?task_id='", "/v3/async/task-result?task_id=%00", "/v3/async/task-result",
    "/v1/images?take=0", "/v1/images?from=../../etc/passwd", "/v1/images?from=%ff", "/v1/images/image_%00/download",
    "/v1/images/..%2f..%2f/download", "/?" + "a=1&" * 3_000, "/api/v1/me?" + "%00", "/api/v1/models?a[]=1&a[b]=2",
    "/docs/../openapi.json", "/openapi.json/..", "/metrics/../../", "/1/../../" * 200,
)  # fmt: skip
_LINES = (
    b"GET", b"GET /", b"GET / HTTP/9.9", b"GET / HTTP/1.0", b"GET  / HTTP/1.1", b"GET / / HTTP/1.1",
    b"\x16\x03\x01\x02", b"get /health HTTP/1.1", b"G\0T / HTTP/1.1", b"BREW /health HTTP/1.1",
    b"X" * 5_000 + b" / HTTP/1.1", b"PRI * HTTP/2.0", b"CONNECT 127.0.0.1:22 HTTP/1.1", b"OPTIONS * HTTP/1.1",
    b"TRACE / HTTP/1.1", b"GET http://127.0.0.1:22/ HTTP/1.1", b"GET http://user:word@evil.example/health HTTP/1.1",
    b"GET file:///etc/passwd HTTP/1.1", b"GET health HTTP/1.1", b"GET http:// HTTP/1.1",
    b"GET http://[::1/ HTTP/1.1", b"GET /\xff\xfe HTTP/1.1", b"GET /a b HTTP/1.1",
    b"GET /" + b"x" * 100_000 + b" HTTP/1.1", b"HEAD / HTTP/1.1", b"POST /health HTTP/1.1",
    b"DELETE /api/v1/me HTTP/1.1", b"PUT /api/v1/remove HTTP/1.1", b"PATCH /v1/images HTTP/1.1",
    b"PROPFIND / HTTP/1.1",
)  # fmt: skip
_HEADERS = (
    ("Host", "evil.example"), ("Host", ""), ("Host", "127.0.0.1:99999"), ("Host", "127.0.0.1@evil.example"),
    ("Host", "x" * 5_000), ("Host", "[::1"), ("Host", "127.0.0.1\x00.evil.example"),
    ("Authorization", "Bearer " + "x" * 9_000), ("Authorization", "Basic !!!"), ("Authorization", "Bearer \xff\xfe"),
    ("x-api-key", "\x01"), ("x-api-key", "' OR 1=1--"), ("Accept", "*/*;q=nonsense"),
    ("Accept", "image/png;q=" + "9" * 5_000), ("Accept", ",".join(["image/png"] * 800)), ("Accept", "\xff"),
    ("Accept", "text/html"), ("Range", "bytes=0-0," * 800), ("Range", "bytes=-99999999999999999999"),
    ("Range", "bytes=5-1"), ("If-None-Match", "x" * 9_000), ("If-Modified-Since", "never"), ("Origin", "null"),
    ("Origin", "https://evil.example"), ("Origin", "http://127.0.0.1.evil.example"), ("Cookie", "a=b; " * 1_500),
    ("X-Forwarded-For", "127.0.0.1"), ("X-Forwarded-Host", "evil.example"), ("X-Forwarded-Prefix", "/../.."),
    ("X-Forwarded-Proto", "javascript"), ("Forwarded", "for=127.0.0.1;host=evil.example"),
    ("X-Original-URL", "/metrics"), ("X-HTTP-Method-Override", "DELETE"), ("Expect", "100-continue"),
    ("Expect", "nonsense"), ("Upgrade", "websocket"), ("Upgrade", "h2c"),
    ("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA"), ("Idempotency-Key", "x" * 9_000), ("Idempotency-Key", "\xff"),
    ("Idempotency-Key", "../../etc/passwd"), ("Idempotency-Key", ""), ("X-Request-ID", "\x7f"),
    ("X-Request-ID", "x" * 9_000), ("User-Agent", "() { :;}; /bin/true"),
    ("User-Agent", "${jndi:ldap://127.0.0.1/}"), ("Referer", "javascript:alert(1)"), ("traceparent", "00-zz-zz-zz"),
    ("traceparent", "x" * 5_000), ("X-A", "x" * 60_000), ("X-A", "x" * 300_000), ("X A", "b"), ("", "b"),
    ("X-A", "a\r\n folded"), ("X-A", "a\r\nX-Injected: 1"), ("X-A", "a\x00b"), ("Accept-Language", "xx-" * 2_000),
    ("Accept-Encoding", "gzip;q=nonsense, *"), ("Content-Disposition", "attachment"),
)  # fmt: skip


def lines() -> Iterator[tuple[str, Sent]]:
    """Whole requests without a body."""
    for path in _PATHS:
        yield f"GET {path[:60]}", Sent(path, start=b"GET " + path.encode("latin-1") + b" HTTP/1.1")
        if path.startswith(("/results", "/api/v1/tasks/", "/api/v1/images/", "/images")):
            yield f"DELETE {path[:60]}", Sent(path, start=b"DELETE " + path.encode("latin-1") + b" HTTP/1.1")
    for line in _LINES:
        yield f"line {line[:60]!r}", Sent("", start=line)
    yield "no line", Sent("", start=b"\r\n\r\n")
    yield "20,000 headers", Sent("", start=b"GET /health HTTP/1.1", headers=[("A", "b")] * 20_000)
    yield "500 headers", Sent("", start=b"GET /health HTTP/1.1", headers=[("A", "b")] * 500)


def headers() -> Iterator[tuple[str, tuple[str, str]]]:
    """Headers for a request that is fine otherwise."""
    for name, value in _HEADERS:
        yield f"{name}: {value[:50]!r}", (name, value)
