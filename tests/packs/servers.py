"""Servers on loopback: of files, and of a model hub as far as huggingface_hub needs one."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


class Handler(BaseHTTPRequestHandler):
    """Answers by `server.answer(self)`: (status, headers, body), or None if that has written."""

    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        self.body = self.rfile.read(length)
        self.server.log.append(f"{self.command} {self.path}")
        answer = self.server.answer(self)
        if answer is None:
            return
        status, headers, body = answer
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = answer  # noqa: N815 - http.server's names

    def log_message(self, *words: Any) -> None:
        """Print nothing."""


Answer = Callable[[Any], "tuple[int, dict[str, str], bytes] | None"]


@contextmanager
def served(answer: Answer) -> Iterator[tuple[str, list[str]]]:
    """Yield a server's address and its list of requests; it ends with the block."""
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.answer, server.log = answer, []
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", server.log
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Hub:
    """Repositories of models by name, each a list of commits, and one token that may write."""

    def __init__(self) -> None:
        self.commits: dict[str, list[dict[str, bytes]]] = {}
        self.uploads: dict[str, bytes] = {}
        self.private: dict[str, bool] = {}
        self.token = "hf_right"
        self.log: list[str] = []

    def commit_of(self, name: str, revision: str) -> int | None:
        commits = self.commits.get(name, [])
        if revision == "main" and commits:
            return len(commits) - 1
        ids = [self.id_of(name, number) for number in range(len(commits))]
        return ids.index(revision) if revision in ids else None

    def id_of(self, name: str, number: int) -> str:
        return hashlib.sha1(f"{name} {number}".encode()).hexdigest()

    def __call__(self, request: Handler) -> tuple[int, dict[str, str], bytes] | None:
        path, base = request.path.partition("?")[0], f"http://{request.headers['Host']}"
        allowed = request.headers.get("Authorization") == f"Bearer {self.token}"
        if request.command in ("POST", "PUT") and not allowed and not path.startswith("/upload/"):
            return _json({"error": "Invalid token."}, 401)
        if path == "/api/repos/create":
            asked = json.loads(request.body)
            name = "/".join(filter(None, (asked.get("organization"), asked["name"])))
            if name in self.commits:
                return _json({"error": "exists", "url": f"{base}/{name}"}, 409)
            self.commits[name], self.private[name] = (
                [{}],
                (asked.get("private") or asked.get("visibility") == "private"),
            )
            return _json({"url": f"{base}/{name}", "name": name})
        if path == "/api/validate-yaml":
            return _json({"errors": [], "warnings": []})
        if match := re.fullmatch(r"/upload/(\w+)", path):
            self.uploads[match[1]] = request.body
            return _json({})
        if match := re.fullmatch(r"/([\w.-]+/[\w.-]+?)(?:\.git)?/info/lfs/objects/batch", path):
            objects = [
                {**o, "actions": {"upload": {"href": f"{base}/upload/{o['oid']}"}}}
                for o in json.loads(request.body)["objects"]
            ]
            return _json({"transfer": "basic", "objects": objects})
        if match := re.fullmatch(r"/api/models/([\w.-]+/[\w.-]+)/(\w+)/([\w.-]+)(?:/.*)?", path):
            return self.api(request, base, *match.groups())
        if match := re.fullmatch(r"/([\w.-]+/[\w.-]+)/resolve/([\w.-]+)/(.+)", path):
            return self.file(*match.groups())
        if match := re.fullmatch(r"/api/models/([\w.-]+/[\w.-]+)", path):
            return self.api(request, base, match[1], "revision", "main")
        return _json({"error": "no such page"}, 404)

    def api(
        self, request: Handler, base: str, name: str, what: str, revision: str
    ) -> tuple[int, dict[str, str], bytes]:
        number = self.commit_of(name, revision)
        if name not in self.commits:
            return _json({"error": "x"}, 401, {"X-Error-Code": "RepoNotFound"})
        if number is None:
            return _json({"error": "x"}, 404, {"X-Error-Code": "RevisionNotFound"})
        files = self.commits[name][number]
        if what == "revision":
            siblings = [{"rfilename": each} for each in files]
            return _json({"id": name, "sha": self.id_of(name, number), "siblings": siblings})
        if what == "tree":
            return _json([_entry(each, content) for each, content in files.items()])
        if what == "preupload":
            asked = json.loads(request.body)["files"]
            # As the hub does: tensors go to large file storage.
            modes = [
                {
                    "path": each["path"],
                    "uploadMode": "lfs" if each["path"].endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                    "oid": None,
                }
                for each in asked
            ]
            return _json({"files": modes})
        lines = [json.loads(line) for line in request.body.splitlines()]
        new = dict(files)
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                new[value["path"]] = base64.b64decode(value["content"])
            if line["key"] == "lfsFile":
                new[value["path"]] = self.uploads[value["oid"]]
        self.commits[name].append(new)
        commit = self.id_of(name, number + 1)
        return _json({"commitOid": commit, "commitUrl": f"{base}/{name}/commit/{commit}"})

    def file(self, name: str, revision: str, path: str) -> tuple[int, dict[str, str], bytes]:
        number = self.commit_of(name, revision)
        if number is None or path not in self.commits[name][number]:
            return _json({"error": "x"}, 404, {"X-Error-Code": "EntryNotFound"})
        content = self.commits[name][number][path]
        headers = {
            "ETag": f'"{hashlib.sha256(content).hexdigest()}"',
            "X-Repo-Commit": self.id_of(name, number),
        }
        return 200, headers, content


def _entry(path: str, content: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "path": path, "size": len(content)}
    entry["oid"] = hashlib.sha1(content).hexdigest()
    if path.endswith(".safetensors"):
        digest = hashlib.sha256(content).hexdigest()
        entry["lfs"] = {"oid": digest, "size": len(content), "pointerSize": 130}
    return entry


def _json(
    value: Any, status: int = 200, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    return (
        status,
        {"Content-Type": "application/json", **(headers or {})},
        json.dumps(value).encode(),
    )
