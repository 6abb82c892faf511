"""A hub of data sets on loopback, with the part of Hugging Face's API that an upload needs."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson

from promptmill.devstack.ports import LOOPBACK


@dataclass
class HubServer:
    """The state of the hub.

    Attributes:
        token: the only one that is accepted.
        files: the contents of each data set, by path.
        private: whether each data set is private.
        commits: the messages of all commits.
        fails: the status that uploads are answered with; 0 accepts them.
    """

    token: str
    url: str = ""
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    private: dict[str, bool] = field(default_factory=dict)
    commits: list[str] = field(default_factory=list)
    fails: int = 0

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        """The status and the JSON document for a request."""
        status = 200
        found: dict[str, Any] = {}
        match method, path.partition("?")[0].strip("/").split("/"):
            case "GET", ["api", "whoami-v2"]:
                found = {"type": "user", "name": "someone"}
            case "POST", ["api", "validate-yaml"]:
                status, found = _checked_card(orjson.loads(body)["content"])
            case "POST", ["api", "repos", "create"]:
                found = self._create(orjson.loads(body))
            case "GET", ["api", "datasets", owner, name, "tree", *_]:
                return 200, [
                    {"type": "file", "path": path, "size": len(content), "oid": "0" * 40}
                    for path, content in self.files[f"{owner}/{name}"].items()
                ]
            case "POST", ["api", "datasets", _, _, "preupload", _]:
                paths = [each["path"] for each in orjson.loads(body)["files"]]
                regular = {"uploadMode": "regular", "shouldIgnore": False}
                found = {"files": [{"path": path, **regular} for path in paths]}
            case "POST", ["api", "datasets", owner, name, "commit", _]:
                status, found = self._commit(f"{owner}/{name}", body)
            case "GET", ["api", "datasets", owner, name, *_]:
                found = {"id": f"{owner}/{name}", "sha": "1" * 40, "siblings": []}
            case _:
                status, found = 404, {"error": f"{method} {path} is not known here"}
        return status, found

    def _create(self, asked: dict[str, Any]) -> dict[str, Any]:
        name = f"{asked.get('organization') or 'someone'}/{asked['name']}"
        self.private.setdefault(name, asked.get("visibility") == "private")
        self.files.setdefault(name, {})
        return {"url": f"{self.url}/datasets/{name}", "name": name}

    def _commit(self, name: str, body: bytes) -> tuple[int, Any]:
        if self.fails:
            return self.fails, {"error": "planted failure"}
        for line in map(orjson.loads, body.splitlines()):
            value = line["value"]
            match line["key"]:
                case "header":
                    self.commits.append(value["summary"])
                case "file":
                    self.files[name][value["path"]] = base64.b64decode(value["content"])
                case "deletedFile":
                    del self.files[name][value["path"]]
        oid = f"{len(self.commits):040x}"
        url = f"{self.url}/datasets/{name}/commit/{oid}"
        return 200, {"success": True, "commitOid": oid, "commitUrl": url, "hookOutput": ""}


def _checked_card(card: str) -> tuple[int, dict[str, Any]]:
    if '\nlicense: "mine"\n' in card:
        return 400, {"errors": [{"message": '"license" must be one of [mit, …]'}], "warnings": []}
    return 200, {"errors": [], "warnings": []}


@contextmanager
def hub_server(token: str) -> Iterator[HubServer]:
    """A running hub that accepts this token."""
    hub = HubServer(token)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._serve()

        def do_POST(self) -> None:
            self._serve()

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, document = 401, {"error": "Invalid credentials"}
            if self.headers.get("Authorization") == f"Bearer {hub.token}":
                status, document = hub.answer(self.command, self.path, body)
            answer = orjson.dumps(document)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - its name
            """Say nothing."""

    with ThreadingHTTPServer((LOOPBACK, 0), Handler) as server:
        hub.url = f"http://{LOOPBACK}:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield hub
        finally:
            server.shutdown()
