"""Servers of other programs on this machine's loopback, ended by their own process id."""

import contextlib
import http.client
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

HOST = "127.0.0.1"
PASSWORD = "tellNobody7"


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def until(ready: Callable[[], bool], process: "subprocess.Popen[bytes]", seconds: float) -> None:
    """Waits for a process to be ready."""
    end = time.monotonic() + seconds
    while not ready():
        assert process.poll() is None, f"{process.args!r} ended with {process.returncode}"
        assert time.monotonic() < end, f"{process.args!r} was not ready in {seconds} s"
        time.sleep(0.05)


def ended(process: "subprocess.Popen[bytes]", blow: signal.Signals) -> None:
    """Ends one process by its id and waits for it."""
    if process.poll() is None:
        process.send_signal(blow)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=30)


# PostgreSQL.


def postgresql_programs() -> Path | None:
    """The folder of Debian's newest ``initdb`` and ``postgres``; None where there are none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: p.parts[4])
    if found:
        return found[-1].parent
    program = shutil.which("initdb")
    return None if program is None else Path(program).resolve().parent


def other_user() -> str | None:
    """Who runs the server: PostgreSQL refuses root; None for this user."""
    if os.geteuid() != 0:
        return None
    names = {user.pw_name for user in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


@contextlib.contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """A server with an empty database that asks for `PASSWORD`; its URL.

    Args:
        folder: Empty; all that the server writes lies there.
    """
    programs = postgresql_programs()
    assert programs is not None
    user = other_user()
    if user is not None:
        shutil.chown(folder, user)
    secret = folder / "password"
    secret.write_text(PASSWORD, encoding="utf-8")
    if user is not None:
        shutil.chown(secret, user)
    options: dict[str, Any] = {"user": user, "group": None, "extra_groups": []} if user else {}
    options |= {"cwd": folder, "stdin": subprocess.DEVNULL, "env": {"LC_ALL": "C", "PATH": ""}}
    data = folder / "data"
    subprocess.run(
        [
            *(programs / "initdb", "-D", data, "-U", "searcher", "--auth=scram-sha-256"),
            *(f"--pwfile={secret}", "--no-sync", "--encoding=UTF8"),
        ],
        check=True,
        capture_output=True,
        timeout=120,
        **options,
    )
    with serving(data, port := free_port()):
        yield f"postgresql+psycopg://searcher:{PASSWORD}@{HOST}:{port}/postgres"


@contextlib.contextmanager
def serving(data: Path, port: int) -> Iterator["subprocess.Popen[bytes]"]:
    """A server of a folder that ``initdb`` or ``pg_basebackup`` has made, run by its owner."""
    programs, owner = postgresql_programs(), data.stat()
    assert programs is not None
    said = data.with_suffix(f".{port}.log")
    with said.open("wb") as log:
        server = subprocess.Popen(
            [
                *(programs / "postgres", "-D", data, "-p", str(port), "-k", ""),
                *("-c", f"listen_addresses={HOST}", "-c", "fsync=off"),
            ],
            cwd=data.parent,
            env={"LC_ALL": "C", "PATH": ""},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            user=owner.st_uid,
            group=owner.st_gid,
            extra_groups=[],
        )

    def listens() -> bool:
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1):
            return b"ready to accept connections" in said.read_bytes()
        return False

    try:
        until(listens, server, 60)
        yield server
    finally:
        ended(server, signal.SIGINT)  # PostgreSQL's fast shutdown


def backup(url: str, data: Path) -> None:
    """Copies a server that runs into a new folder, from which another one can be started."""
    programs, owner = postgresql_programs(), data.parent.stat()
    assert programs is not None
    subprocess.run(
        [
            *(programs / "pg_basebackup", "-d", url.replace("+psycopg", ""), "-D", data),
            *("-X", "stream", "-c", "fast", "--no-sync"),
        ],
        check=True,
        capture_output=True,
        timeout=120,
        cwd=data.parent,
        env={"LC_ALL": "C", "PATH": ""},
        user=owner.st_uid,
        group=owner.st_gid,
        extra_groups=[],
    )


@contextlib.contextmanager
def unanswered(url: str) -> Iterator[tuple[str, list[bytes]]]:
    """A way to a server on which the client's connection is cut before the answer to a COMMIT.

    Yields:
        Its URL, and a list: connections are cut as long as it has something to be taken out.
    """
    left: list[bytes] = []
    with socket.create_server((HOST, 0)) as listening:

        def pumped(source: socket.socket, sink: socket.socket, *, asks: bool) -> None:
            with source, sink, contextlib.suppress(OSError):
                while data := source.recv(1 << 16):
                    if asks and b"COMMIT" in data and left:
                        left.pop()
                        source.shutdown(socket.SHUT_RDWR)
                    sink.sendall(data)
                for end in (source, sink):
                    end.shutdown(socket.SHUT_RDWR)

        def accepted() -> None:
            with contextlib.suppress(OSError):  # it is closed
                while True:
                    client = listening.accept()[0]
                    server = socket.create_connection((HOST, int(url.rpartition(":")[2][:-9])))
                    for ends, asks in (((client, server), True), ((server, client), False)):
                        Thread(target=pumped, args=ends, kwargs={"asks": asks}, daemon=True).start()

        Thread(target=accepted, daemon=True).start()
        port = listening.getsockname()[1]
        yield f"{url.rpartition(':')[0]}:{port}/postgres", left


# optuna-dashboard.


@contextlib.contextmanager
def dashboard(storage: str, folder: Path) -> Iterator[Callable[[], dict[str, int]]]:
    """Optuna's dashboard on a storage; what it yields asks it over HTTP.

    Args:
        storage: An SQLAlchemy URL or a journal's path.
        folder: Where it may write what it says.

    Yields:
        The number of trials that it shows of each study, by the study's name.
    """
    program = str(Path(sys.executable).parent / "optuna-dashboard")
    port = free_port()

    def got(path: str) -> Any:
        connection = http.client.HTTPConnection(HOST, port, timeout=30)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
            assert answer.status == 200, (path, answer.status, body[:200])
            return json.loads(body)
        finally:
            connection.close()

    def shown() -> dict[str, int]:
        studies = got("/api/studies")["study_summaries"]
        details = {s["study_name"]: got(f"/api/studies/{s['study_id']}?after=0") for s in studies}
        return {str(name): len(detail["trials"]) for name, detail in details.items()}

    def listens() -> bool:
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1):
            return True
        return False

    with (folder / "dashboard.log").open("wb") as log:
        process = subprocess.Popen(
            [program, storage, "--host", HOST, "--port", str(port)],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        until(listens, process, 60)
        yield shown
    finally:
        ended(process, signal.SIGTERM)
