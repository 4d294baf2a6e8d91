"""A Hugging Face hub in a thread: repositories, revisions, pull requests, consent, broken bytes."""

from __future__ import annotations

import hashlib
import json
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import unquote, urlsplit

Files = dict[str, bytes]


class HubServer:
    """Serves `repositories` (ORG/NAME -> revision -> file -> bytes) on 127.0.0.1 at `url`.

    gated: those whose files need a token. break_after: the next download of a large file ends
    after so many bytes; hold_after: it stops there, `is_held` is set, and it goes on when
    `release` is. requests: what was asked, such as `GET /a/b/resolve/main/config.json`;
    ranges: the parts of files that were asked for.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, Files]] = {}
        self.gated: set[str] = set()
        self.break_after: int | None = None
        self.hold_after: int | None = None
        self.is_held = threading.Event()
        self.release = threading.Event()
        self.requests: list[str] = []
        self.ranges: list[str] = []
        self._server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def files(self, repository: str, revision: str) -> Files | None:
        """By the name of a revision, or its commit."""
        revisions = self.repositories.get(repository, {})
        by_commit = {commit_of(files): files for files in revisions.values()}
        return revisions.get(revision) or by_commit.get(revision)

    def __enter__(self) -> HubServer:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def commit_of(files: Files) -> str:
    """The commit that holds these files."""
    digests = [f"{name} {_digest(body)}" for name, body in sorted(files.items())]
    return hashlib.sha1("\n".join(digests).encode()).hexdigest()


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


class _Server(ThreadingHTTPServer):
    daemon_threads = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # clients hang up
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: HubServer

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.close_connection = True
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"{self.command} {path}")
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/refs", path):
            self._refs(match[1])
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commits/main", path):
            self._commits(match[1])
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path):
            self._info(match[1], match[2] or "main")
        elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+|refs/pr/\d+)/(.+)", path):
            self._file(*match.groups())
        else:
            self._send(404, b"")

    def _refs(self, repository: str) -> None:
        refs = [
            {"name": name, "ref": name, "targetCommit": commit_of(files)}
            for name, files in self.hub.repositories[repository].items()
        ]
        requests = [ref for ref in refs if ref["ref"].startswith("refs/pr/")]
        branches = [ref for ref in refs if ref not in requests]
        self._json({"branches": branches, "converts": [], "tags": [], "pullRequests": requests})

    def _commits(self, repository: str) -> None:
        """Of every revision, as if main had them all in its history."""
        said = {"authors": [], "date": "2025-02-20T00:00:00.000Z", "title": "", "message": ""}
        files = self.hub.repositories.get(repository, {}).values()
        self._json([said | {"id": commit_of(some)} for some in files])

    def _info(self, repository: str, revision: str) -> None:
        if repository not in self.hub.repositories:
            self._send(401, b"", {"X-Error-Code": "RepoNotFound"})
            return
        files = self.hub.files(repository, revision)
        if files is None:
            self._send(404, b"", {"X-Error-Code": "RevisionNotFound"})
            return
        siblings = [{"rfilename": name, "size": len(body)} for name, body in files.items()]
        self._json({"id": repository, "sha": commit_of(files), "siblings": siblings})

    def _file(self, repository: str, revision: str, name: str) -> None:
        if repository in self.hub.gated and "Authorization" not in self.headers:
            self._send(401, b"", {"X-Error-Code": "GatedRepo"})
            return
        files = self.hub.files(repository, revision)
        if files is None or name not in files:
            self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
            return
        body = files[name]
        headers = {
            "ETag": f'"{_digest(body)}"',
            "X-Linked-Size": str(len(body)),
            "X-Repo-Commit": commit_of(files),
        }
        start = 0
        if match := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            self.hub.ranges.append(match[0])
            start = int(match[1])
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        self._send(206 if match else 200, body[start:], headers)

    def _json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Connection", "close")
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        broken, held = self.hub.break_after, self.hub.hold_after
        if broken is not None and len(body) > broken:
            self.hub.break_after = None
            body = body[:broken]
        if held is not None and len(body) > held:
            self.wfile.write(body[:held])
            self.hub.is_held.set()
            self.hub.release.wait()
            body = body[held:]
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the tests read `requests`."""
