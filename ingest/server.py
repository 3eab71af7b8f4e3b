"""A local Neo4j server that Throughline starts, finds again, stops and resets.

It is a child process in a session of its own on loopback, shared by every command and page of one home folder:
the first to need it starts it, the others find its record (`server.json`) and log in. It stays when they leave, until
`throughline db stop`: Neo4j has no setting that stops an idle server.
"""

import hashlib
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import filelock
import psutil

from ingest.bolt import Client, Connection
from ingest.home import home, jar_cache
from ingest.jars import Progress, fetch_jars, jar_paths
from ingest.java import java_command, kept_file
from tracer.errors import LoginError, StoreError

HOST = "127.0.0.1"
MAIN_CLASS = "org.neo4j.server.Neo4jCommunity"
START_TIMEOUT_S = 180  # 3 to 13 s measured; a first start on a machine busy with other work needs more
STOP_TIMEOUT_S = 60
LAUNCH_S = 2  # within which Java's launcher has replaced itself by Java; until then the process may look empty
PATIENCE_S = 5  # with a server that runs but does not answer
HASH_ROUNDS = 1024  # of Neo4j's own password file
DATA_BEFORE, DATA_GONE = "data.before", "data.gone"  # beside `data`, while another takes its place
OWN_DATA = ("dbms", "databases/system", "transactions/system")  # what a data folder has but graphs
WINDOWS_FLAGS = 0x00000208  # DETACHED_PROCESS | CREATE_NEW_PROCESS_GROUP: what a session of its own is elsewhere
CONFIGURATION = """\
# Written at every start by Throughline; changes are lost.
server.default_listen_address={host}
server.bolt.listen_address={host}:{port}
server.bolt.advertised_address={host}:{port}
server.http.enabled=false
server.https.enabled=false
dbms.security.auth_enabled=true
dbms.security.allow_csv_import_from_file_urls=false
internal.dbms.cypher_ip_blocklist=0.0.0.0/0,::/0
dbms.usage_report.enabled=false
client.allow_telemetry=false
server.memory.pagecache.size=256m
dbms.memory.transaction.total.max=768m
db.memory.transaction.max=640m
db.transaction.timeout=15m
internal.server.bolt.thread_pool_shutdown_wait_time=500ms
internal.server.bolt.connection_shutdown_wait_time=500ms
db.tx_log.rotation.size=32m
db.tx_log.rotation.retention_policy=2 files
"""
SERVER_OPTIONS = (
    "-Xms384m",  # of which new objects get a third: with 128 MB a question over many graphs takes a tenth longer
    # code compiled by profiles that were kept saves 2 s of the first graph after a start, and is a fifth slower than
    # what Java makes of its own within ten questions
    "-XX:+IgnoreUnrecognizedVMOptions",
    "-XX:+UnlockDiagnosticVMOptions",
    "-XX:-AOTReplayTraining",
)


@dataclass(frozen=True)
class ServerStatus:
    """What there is of the local server, for people and for JSON."""

    running: bool
    folder: str
    """Everything of the server: data, logs, configuration, password."""
    uri: str | None = None
    pid: int | None = None
    started: str | None = None
    """When, in this machine's time."""
    memory_mib: float | None = None
    """Resident memory of the process."""
    data_mib: float = 0.0
    """Size of the database on disk."""
    prepared: bool = False
    """Whether it starts with what Java has kept; see `prepare`."""


@dataclass(frozen=True)
class Record:
    """What is written down about a running server."""

    pid: int
    port: int
    started: float


class LocalServer:
    """The managed server of one home folder.

    Args:
        folder: Its place; `<home>/neo4j` if not given.
        jars: Cache of jars; `home.jar_cache()` if not given.
        lesson: Where a server shall write down, when it is stopped, what it has learned; see `prepare`.
    """

    def __init__(self, folder: Path | None = None, jars: Path | None = None, lesson: Path | None = None):
        self.folder = Path(folder or home() / "neo4j").resolve()
        self.jars = jars or jar_cache()
        self._lesson = lesson
        self._told_before = 0  # bytes of its own log that are of earlier starts

    def ensure(self, progress: Progress | None = None) -> Connection:
        """A connection to the running server; it is started, and its jars fetched, where it does not run yet.

        Raises:
            StoreError: It cannot be fetched or does not start; the message has the last lines of its log.
        """
        record = self._running()
        usable = record and not self._data_before.exists() and not self._is_stuck(record)
        if record and usable and (connection := self._answer(record, progress)):
            return connection  # else none runs, or another command was stopping it
        with self._alone():
            if self._data_before.exists():
                self._take_back()
            record = self._running()
            if record and self._is_stuck(record):
                self._stop()
                record = None
            record = record or self._start(progress)
        return self._wait(record, progress)

    def status(self) -> ServerStatus:
        """Whether the server runs, where, and how large it is."""
        record = self._running()
        size_mib, prepared = _size_mib(self.folder / "data"), self.is_prepared()
        if record is None:
            return ServerStatus(False, str(self.folder), data_mib=size_mib, prepared=prepared)
        memory_mib = psutil.Process(record.pid).memory_info().rss / 2**20
        uri = f"bolt://{HOST}:{record.port}"
        started = datetime.fromtimestamp(record.started).astimezone().isoformat(timespec="seconds")
        return ServerStatus(True, str(self.folder), uri, record.pid, started, memory_mib, size_mib, prepared)

    def is_prepared(self) -> bool:
        """Whether the next start begins with what Java has kept."""
        jars = jar_paths(self.jars)
        return all(path.exists() for path in jars) and kept_file(jars, MAIN_CLASS, SERVER_OPTIONS).exists()

    def stop(self) -> bool:
        """Stop the server and wait until it has closed its files; False where none ran."""
        if not self.folder.exists():
            return False
        with self._alone():
            return self._stop()

    def reset(self) -> bool:
        """Stop the server and delete its database and password; the jars stay. False where there was none."""
        if not self.folder.exists():
            return False
        with self._alone():
            self._stop()
            there = (self.folder / "data").exists()
            for name in ("data", DATA_BEFORE, DATA_GONE, "import", "logs", "conf", "run"):
                shutil.rmtree(self.folder / name, ignore_errors=True)
            self._password_file.unlink(missing_ok=True)
        return there

    @contextmanager
    def exchanged(self, data: Path, progress: Progress | None = None) -> Iterator[Connection]:
        """Let the server go on with another data folder: for good, if the block ends without an error.

        Else, and after a crash in between, the one that was there comes back. Other commands wait so long.
        """
        with self._alone():
            record = self._running()
            self._stop(at_once=True)  # it would wait for a transaction that keeps others from writing
            self._data.replace(self._data_before)
            try:
                data.replace(self._data)
                for part in OWN_DATA:  # users and names of databases, which take seconds to make
                    shutil.copytree(self._data_before / part, self._data / part)
                yield self._wait(self._start(progress, record and record.port), progress)
                self._data_before.replace(self.folder / DATA_GONE)  # from this moment on the new one counts
            except BaseException:
                self._take_back()
                raise
        shutil.rmtree(self.folder / DATA_GONE, ignore_errors=True)

    def _take_back(self) -> None:
        """Undo an exchange that did not come to its end."""
        self._stop()
        shutil.rmtree(self._data, ignore_errors=True)
        self._data_before.replace(self._data)

    # -- what is written down

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    @property
    def _data_before(self) -> Path:
        """Where the data folder is while another one takes its place; it is there at no other time."""
        return self.folder / DATA_BEFORE

    @property
    def _record_file(self) -> Path:
        return self.folder / "server.json"

    @property
    def _password_file(self) -> Path:
        return self.folder / "password"

    @property
    def _log_files(self) -> tuple[Path, Path]:
        """What the process prints, which is made anew at each start, and what the server tells its users."""
        return self.folder / "logs" / "console.log", self.folder / "logs" / "neo4j.log"

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One process at a time starts or stops this server."""
        _make_folder(self.folder)
        lock = filelock.FileLock(self.folder / "server.lock")
        try:
            with lock.acquire(timeout=START_TIMEOUT_S):
                yield
        except PermissionError as error:
            raise _no_place(self.folder, error) from error
        except filelock.Timeout:
            raise StoreError(
                f"another command has been starting or stopping the server of {self.folder} for {START_TIMEOUT_S} s; "
                "expected it to finish. Wait for it, or end it, and try again."
            ) from None

    def _running(self) -> Record | None:
        """The record of the server where its process is alive and ours; a stale record is removed."""
        try:
            record = Record(**json.loads(self._record_file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):  # none there, or cut off while it was written
            return None
        if isinstance(record.pid, int) and record.pid > 0 and self._is_ours(record.pid):
            return record
        self._record_file.unlink(missing_ok=True)
        return None

    def _is_ours(self, pid: int) -> bool:
        """Whether this process is a server of this folder; the system may have given the number to another."""
        try:
            process = psutil.Process(pid)
            return process.status() != psutil.STATUS_ZOMBIE and f"--home-dir={self.folder}" in _command_line(process)
        except psutil.Error:
            return False

    def _is_stuck(self, record: Record) -> bool:
        """Whether a server that had time enough to start does not answer: its database gave up, as on a full disk."""
        if time.time() - record.started < START_TIMEOUT_S:
            return False
        for _ in range(PATIENCE_S):
            if _answers(self._connection(record), record.port):
                return False
            time.sleep(1)
        return True

    def _connection(self, record: Record) -> Connection:
        return Connection(f"bolt://{HOST}:{record.port}", "neo4j", self._password(), folder=self.folder)

    def _write_record(self, record: Record) -> Record:
        part = self._record_file.with_suffix(".part")
        part.write_text(json.dumps(record.__dict__), encoding="utf-8")
        part.replace(self._record_file)
        return record

    def _orphan(self) -> Record | None:
        """A server of this folder without a record: whoever started it died in between, or deleted the folder."""
        for process in psutil.process_iter():
            if self._is_ours(process.pid):
                try:
                    text = (self.folder / "conf" / "neo4j.conf").read_text(encoding="utf-8")
                except FileNotFoundError:  # its files were deleted under it: nothing of it can be used
                    process.kill()
                    _has_ended(process)
                    continue
                port = int(text.partition("server.bolt.listen_address=")[2].partition("\n")[0].rpartition(":")[2])
                return self._write_record(Record(process.pid, port, process.create_time()))
        return None

    # -- starting

    def _start(self, progress: Progress | None, port: int | None = None) -> Record:
        orphan = self._orphan()
        if orphan:
            return orphan
        jars = fetch_jars(self.jars, progress)
        shutil.rmtree(self.folder / DATA_GONE, ignore_errors=True)
        for name in ("conf", "logs", "data", "run", "plugins", "import"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self._password()
        return self._launch(jars, port or _chosen_port())

    def _launch(self, jars: list[Path], port: int) -> Record:
        text = CONFIGURATION.format(host=HOST, port=port)
        (self.folder / "conf" / "neo4j.conf").write_text(text, encoding="utf-8")
        folders = (f"--home-dir={self.folder}", f"--config-dir={self.folder / 'conf'}")
        printed, told = self._log_files
        self._told_before = told.stat().st_size if told.exists() else 0
        with printed.open("wb") as log:
            process = subprocess.Popen(
                java_command(jars, MAIN_CLASS, *folders, options=SERVER_OPTIONS, lesson=self._lesson),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in the client must not reach the server
                creationflags=WINDOWS_FLAGS if sys.platform == "win32" else 0,
            )
        process.returncode = 0  # it outlives us on purpose: no warning when this object goes
        return self._write_record(Record(process.pid, port, time.time()))

    def _wait(self, record: Record, progress: Progress | None) -> Connection:
        if connection := self._answer(record, progress):
            return connection
        raise self._did_not_start(record)

    def _answer(self, record: Record, progress: Progress | None) -> Connection | None:
        """Wait for a real login, which is the only proof that the server answers; None where it ends before."""
        connection = self._connection(record)
        deadline = time.monotonic() + START_TIMEOUT_S
        told = False
        while time.monotonic() < deadline:
            if _answers(connection, record.port):
                return connection
            if not self._is_ours(record.pid):
                return None
            if progress and not told:
                progress(0, 1, "starting Neo4j")
                told = True
            time.sleep(0.1)
        raise self._did_not_start(record)

    def _did_not_start(self, record: Record) -> StoreError:
        self._running()  # drops a stale record
        starts = zip(self._log_files, (0, self._told_before), strict=True)
        lines = [line for path, start in starts if path.exists() for line in _filled_lines(path, start)]
        wrong = [line for line in lines if "ERROR" in line or "Exception" in line or "Caused by" in line]
        shown = "\n  ".join(line[:300] for line in (wrong[-5:] or lines[-5:]))
        return StoreError(
            f"the local Neo4j server (port {record.port}) did not start; expected a login within {START_TIMEOUT_S} s. "
            f"The end of its log in {self.folder / 'logs'}:\n  {shown}\n"
            "Free what it lacks (memory, disk, port) and run the command again. Where nothing helps, `throughline db "
            "reset` makes an empty database, and `throughline rebuild` fills it again from the library."
        )

    def _stop(self, at_once: bool = False) -> bool:
        record = self._running() or self._orphan()
        if record is None:
            return False
        process = psutil.Process(record.pid)
        if not at_once:
            process.terminate()
        if at_once or not _has_ended(process):  # its log brings everything acknowledged back at the next start
            process.kill()
            _has_ended(process)
        self._record_file.unlink(missing_ok=True)
        return True

    # -- the password

    def _password(self) -> str:
        """The random password; made, with Neo4j's own file of initial passwords, before the first start."""
        there = self._password_file.exists()
        password = self._password_file.read_bytes().decode("ascii", "replace").strip() if there else ""
        has_database = (self.folder / "data" / "databases" / "system").exists()
        if not re.fullmatch(r"[\w-]+", password, re.ASCII):  # none, or not what was written there
            if has_database:
                raise StoreError(
                    f"{self._password_file} is {'damaged' if there else 'gone'}, and the database in {self.folder} "
                    "cannot be opened without it; expected the file that was made with it. Put it back, or run "
                    "`throughline db reset` and `throughline rebuild`."
                )
            password = secrets.token_urlsafe(24)
            _write_private(self._password_file, password)
        if not has_database:
            initial = self.folder / "data" / "dbms" / "auth.ini"
            _make_folder(initial.parent)
            _write_private(initial, initial_login(password, secrets.token_bytes(32)))
        return password


def _command_line(process: psutil.Process) -> list[str]:
    """The command line; for a process that was made just now, once it has one."""
    young = time.time() - process.create_time() < LAUNCH_S
    deadline = time.monotonic() + (LAUNCH_S if young else 0)
    while not (command := process.cmdline()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return command


def _has_ended(process: psutil.Process) -> bool:
    """Wait for a process to end; where it is the child of a page that lives on, it stays in the list of processes."""
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while time.monotonic() < deadline:
        with suppress(psutil.TimeoutExpired):
            process.wait(0.1)
            return True
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
    return False


def initial_login(password: str, salt: bytes) -> str:
    """The line that `neo4j-admin dbms set-initial-password` writes, without showing the password to `ps`.

    >>> line = initial_login("abcdefgh1", bytes.fromhex("a8" * 32))
    >>> line.split(",")[0], len(line.split(",")[1]), line.split(",")[3]
    ('neo4j:SHA-256', 64, '1024:')
    """
    digest = hashlib.sha256(salt + password.encode()).digest()
    for _ in range(HASH_ROUNDS - 1):
        digest = hashlib.sha256(digest).digest()
    return f"neo4j:SHA-256,{digest.hex()},{salt.hex()},{HASH_ROUNDS}:"


def _filled_lines(path: Path, start: int = 0) -> list[str]:
    return [line for line in path.read_bytes()[start:].decode("utf-8", "replace").splitlines() if line.strip()]


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise _no_place(folder, error) from error


def _no_place(folder: Path, error: OSError) -> StoreError:
    return StoreError(
        f"{folder} cannot be made or written ({error.strerror}); expected a folder of this user's own. "
        "Set THROUGHLINE_HOME to one."
    )


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


def _chosen_port() -> int:
    """The port the user asked for, or one that is free now."""
    asked = os.environ.get("THROUGHLINE_NEO4J_PORT")
    if asked and not (asked.isdigit() and 0 < int(asked) < 65536):
        raise StoreError(
            f"THROUGHLINE_NEO4J_PORT is {asked!r}; expected a number from 1 to 65535. Set one or unset it."
        )
    with socket.socket() as probe:
        if os.name != "nt":  # as the server itself does; on Windows the flag would let two share a port
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, int(asked or 0)))
        except OSError as error:
            raise StoreError(
                f"port {asked} is taken or not allowed ({error.strerror}); expected a free one for the local Neo4j. "
                "Set THROUGHLINE_NEO4J_PORT to another, or unset it and a free one is chosen."
            ) from None
        return probe.getsockname()[1]


def _answers(connection: Connection, port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        if probe.connect_ex((HOST, port)):
            return False
    try:
        Client(connection).close()
    except LoginError:
        raise
    except StoreError:
        return False
    return True


def _size_mib(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20 if folder.exists() else 0.0
