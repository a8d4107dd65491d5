"""A small hub on the loopback interface: what the client asks of it, and how it can fail.

GET  /api/models/{repo}[/revision/{revision}]   the commit and the files
GET  /api/models/{repo}/tree/{revision}/{path}  that there is no such directory
HEAD /{repo}/resolve/{revision}/{file}          commit, digest and size
GET  the same                                   the bytes, whole or from a Range on
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from urllib.parse import unquote, urlsplit

from tests.loopback import LoopbackServer


@dataclass
class Repo:
    """A repository: its files by name, at one commit.

    Args:
        files: contents; those of 4096 bytes or more are kept as Git LFS keeps them.
        commit: 40 hexadecimal digits.
        refs: names of the commit.
        fault: how it fails, empty for not at all.
    """

    files: dict[str, bytes]
    commit: str = "c" * 40
    refs: tuple[str, ...] = ("main",)
    fault: str = ""


@dataclass
class Hub:
    """Repositories behind a URL, and what was asked for."""

    repos: dict[str, Repo]
    url: str = ""
    asked: list[str] = field(default_factory=list)

    def __enter__(self) -> Hub:
        hub = self

        class Handler(_Handler):
            pass

        Handler.hub = hub
        self._server = LoopbackServer(Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


def is_lfs(content: bytes) -> bool:
    """Whether a file is kept under its SHA-256 rather than as a git blob."""
    return len(content) >= 4096


def digest(content: bytes) -> str:
    """The name under which the hub and its client's cache keep a file."""
    if is_lfs(content):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = urlsplit(self.path).path
        self.hub.asked.append(f"{self.command} {path} {self.headers.get('Range', '')}".strip())
        if path.startswith("/api/models/") and "/tree/" in path:
            self._refuse(404, "EntryNotFound")
        elif path.startswith("/api/models/"):
            name, _, revision = path.removeprefix("/api/models/").partition("/revision/")
            self._info(name, unquote(revision) or "main")
        else:
            name, _, rest = path.removeprefix("/").partition("/resolve/")
            revision, _, file = rest.partition("/")
            self._file(name, unquote(revision), unquote(file))

    def _repo(self, name: str, revision: str) -> Repo | None:
        repo = self.hub.repos.get(name)
        if repo is None or repo.fault == "private":
            self._refuse(401 if repo else 404, "RepoNotFound")
        elif repo.fault == "bad token":
            self._refuse(401, "", "Invalid credentials in Authorization header")
        elif repo.fault in ("429", "500", "503"):
            self._refuse(int(repo.fault), "")
        elif revision not in (repo.commit, *repo.refs):
            self._refuse(404, "RevisionNotFound")
        else:
            if repo.fault == "slow":
                time.sleep(8)
            return repo
        return None

    def _refuse(self, status: int, code: str, message: str = "") -> None:
        headers = {"X-Error-Code": code} if code else {}
        if message:
            headers["X-Error-Message"] = message
        self._send(status, headers, b"{}")

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def _info(self, name: str, revision: str) -> None:
        repo = self._repo(name, revision)
        if repo is None:
            return
        siblings = [_sibling(file, content) for file, content in repo.files.items()]
        gated = "manual" if repo.fault == "gated" else False
        body = {"id": name, "sha": repo.commit, "siblings": siblings, "gated": gated}
        self._send(200, {"Content-Type": "application/json"}, json.dumps(body).encode())

    def _file(self, name: str, revision: str, file: str) -> None:
        repo = self._repo(name, revision)
        if repo is None:
            return
        if repo.fault == "gated":
            self._refuse(403, "GatedRepo")
        elif file not in repo.files or repo.fault == "absent":
            headers = {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": repo.commit}
            self._send(404, headers, b"")
        else:
            elsewhere = repo.fault == "moved" and revision != repo.commit
            wrong = elsewhere or repo.fault == "other commit"
            self._content(repo, repo.files[file], "e" * 40 if wrong else repo.commit)

    def _content(self, repo: Repo, content: bytes, commit: str) -> None:
        headers = {
            "X-Repo-Commit": commit,
            "ETag": f'"{digest(content)}"',
            "X-Linked-Size": str(len(content)),
            "Accept-Ranges": "bytes",
        }
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        body = content[start:]
        if repo.fault == "wrong bytes" and is_lfs(content):
            body = bytes(len(body))
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        if self.command == "HEAD" or not self._cuts(repo, content):
            self._send(206 if start else 200, {**headers, "Content-Length": str(len(body))}, body)
            return
        self._send(200, {**headers, "Content-Length": str(len(content))}, content[:60])
        self.close_connection = True

    def _cuts(self, repo: Repo, content: bytes) -> bool:
        """Whether the connection breaks in the middle of this file; once."""
        cuts = repo.fault == "cut once" and is_lfs(content)
        if cuts:
            repo.fault = ""
        return cuts


def _sibling(name: str, content: bytes) -> dict[str, object]:
    entry: dict[str, object] = {"rfilename": name, "size": len(content)}
    entry["blobId"] = digest(content) if not is_lfs(content) else "0" * 40
    if is_lfs(content):
        entry["lfs"] = {"sha256": digest(content), "size": len(content), "pointerSize": 134}
    return entry
