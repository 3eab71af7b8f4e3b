"""Sessions with a Neo4j server over Bolt, in our terms: plain values out, StoreError and QueryError for failures."""

import logging
import os
import random
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import neo4j
import neo4j.exceptions
import neo4j.graph
import neo4j.time

from tracer.errors import LoginError, QueryError, StoreError, StoreUnreachableError, no_text

logging.getLogger("neo4j").addHandler(logging.NullHandler())  # what it says to nobody in particular, our errors tell

T = TypeVar("T")
NUMBERS = frozenset({bool, int, float, type(None)})
PLAIN = NUMBERS | {str}
SCHEMES = ("bolt", "bolt+s", "bolt+ssc", "neo4j", "neo4j+s", "neo4j+ssc")
_OTHERS = (
    "CALL dbms.listConnections() YIELD userAgent WITH userAgent WHERE coalesce(userAgent, '') <> $agent "
    "RETURN count(*) AS others"
)
SHORT = 240  # characters of a server's message that are shown
ROWS_AT_ONCE = 10  # that the server holds ready where nobody knows how large they are; a thousand cost it its memory
MAX_RETRY_S = 30  # of a write that met a deadlock with another writer
PLAN_S = 10  # in which the server says how it would answer a query
PATIENCE_S = 5  # beyond its time limit with a server that does not keep to it
CANCELLED = "Neo.ClientError.Transaction.Terminated"
ALREADY_THERE = re.compile(r"Neo\.ClientError\.Schema\.\w+AlreadyExists")
NOT_IN_THIS_EDITION = "51N27"
ENDLESS = (
    "The query took longer than its time limit and was given up. The server may go on with it: it cannot be stopped "
    "inside one expression, such as reduce or a list over a long range, before that ends or it is restarted "
    "(`throughline db stop` for the local one). Nest less, make shorter lists, or rows of them (UNWIND)."
)
UNPLANNED = (
    f"The server did not say within {PLAN_S + PATIENCE_S} s how it would answer the query; expected Cypher that can be "
    "planned. It is too long, or nests too deep: split it, or put long lists into parameters."
)
BROKEN_DOWN = (
    "Neo4j broke down on this query ({said}), and answers others. Most often a query nests too deep: split it, or put "
    "long lists into parameters. Where it does not, `throughline verify` tells whether what is stored is whole."
)
CANCEL = """
SHOW TRANSACTIONS YIELD transactionId AS id, metaData WHERE metaData.name = $name
TERMINATE TRANSACTIONS id YIELD message RETURN message
"""


@dataclass(frozen=True)
class Connection:
    """Which server to talk to, as whom, and where in it."""

    uri: str
    """bolt://…, neo4j://… or their encrypted forms."""
    user: str = "neo4j"
    """Name to log in with."""
    password: str = field(default="", repr=False)
    """Kept out of every message."""
    database: str | None = None
    """None: the user's home database."""
    folder: Path | None = None
    """Where a local server keeps its data; None for a server elsewhere."""


def connection_from_environment() -> Connection | None:
    """The server named by THROUGHLINE_NEO4J_URI, _USER, _PASSWORD and _DATABASE; None where no URI is set."""
    uri = os.environ.get("THROUGHLINE_NEO4J_URI")
    if not uri:
        return None
    return Connection(
        uri,
        os.environ.get("THROUGHLINE_NEO4J_USER", "neo4j"),
        os.environ.get("THROUGHLINE_NEO4J_PASSWORD", ""),
        os.environ.get("THROUGHLINE_NEO4J_DATABASE") or None,
    )


@dataclass(frozen=True)
class Rows:
    """The answer of a query: named columns, one dict a row, all values plain Python."""

    columns: tuple[str, ...]
    records: list[dict[str, Any]]
    elapsed_ms: float
    truncated: bool = False
    """Whether there were more rows than were asked for."""
    settled: bool = True
    """False where graphs came or went while the query ran, however often it was asked: it may have met half of one."""

    def __len__(self) -> int:
        return len(self.records)


@dataclass(frozen=True)
class Step:
    """One operator of a plan; those that it takes its rows from stand below it."""

    operator: str
    details: str
    rows: float | None
    """How many the planner expects; None where it does not say."""
    sources: "tuple[Step, ...]" = ()


@dataclass(frozen=True)
class Plan:
    """What the server says about a query without running it."""

    query_type: str
    """`r` reads, `w` writes, `rw` both, `s` changes the schema or administers."""
    operators: tuple[tuple[str, str], ...]
    """(operator, details), from the top of the plan down."""
    top: Step | None = None
    """The same as a tree; None where there is no plan."""
    columns: tuple[str, ...] = ()
    """Of the answer."""


class Client:
    """One driver to one database; safe to share between threads."""

    def __init__(self, connection: Connection):
        """Raises StoreError where nobody answers or the login is refused."""
        if connection.uri.partition("://")[0] not in SCHEMES:
            raise StoreError(
                f"the address {connection.uri!r} is none of Neo4j's Bolt protocol; expected one such as "
                f"bolt://localhost:7687 (or {', '.join(SCHEMES[1:])}). Set THROUGHLINE_NEO4J_URI to one."
            )
        self.connection = connection
        self._agent = f"throughline/{uuid.uuid4()}"  # by which the server tells our connections from those of others
        with translated(connection):
            self._driver = neo4j.GraphDatabase.driver(
                connection.uri,
                auth=(connection.user, connection.password),
                notifications_min_severity="OFF",  # else every hint of the planner is logged
                connection_timeout=10,
                telemetry_disabled=True,
                user_agent=self._agent,
            )
            try:
                self._ask_trivially()  # a login alone does not tell whether the database exists
            except BaseException:
                self._driver.close()
                raise

    def close(self) -> None:
        """Close all connections."""
        self._driver.close()

    def read(
        self,
        text: str,
        parameters: Mapping[str, Any],
        max_rows: int | None = None,
        timeout_s: float | None = None,
        stamp: str | None = None,
        max_size: int | None = None,
        name: str = "",
    ) -> Rows:
        """Run one query in read access mode, which the server itself enforces.

        Args:
            stamp: A query that tells, in one row, whether something is changing; see `Rows.settled`.
            max_size: Characters and numbers of the whole answer; rows above that are left out like those over max_rows.
            name: By which `cancel` finds it while it runs.
            timeout_s: The server stops the query then; where it does not, it is left alone a little later.

        Raises:
            QueryError: Among others, where the first row alone is above max_size.
        """
        began, name = time.perf_counter(), name or str(uuid.uuid4())
        with (
            translated(self.connection),
            self._blamed_on_the_query(),
            self._session(neo4j.READ_ACCESS, 1000 if max_size is None else ROWS_AT_ONCE) as session,
            _left_after(timeout_s, session, ENDLESS),
            self._ended_with_us(name),
        ):

            def stamped() -> dict[str, Any]:
                if stamp is None:
                    return {}
                row = session.run(neo4j.Query(stamp, timeout=timeout_s)).single()  # pyright: ignore[reportArgumentType]
                return row.data() if row else {}

            before = stamped()
            # each in a transaction of its own: only such a one may be divided (IN CONCURRENT TRANSACTIONS). The name is
            # that of the query alone, or `cancel` would end a stamp and leave the query to begin after it
            query = neo4j.Query(text, metadata={"name": name}, timeout=timeout_s)  # pyright: ignore[reportArgumentType]
            result = session.run(query, dict(parameters))
            records, truncated = _first_rows(result, max_rows, max_size)
            columns = tuple(result.keys())
            result.consume()  # what is over max_rows stays at the server
            settled = not before.get("busy") and before == stamped()
        return Rows(columns, records, (time.perf_counter() - began) * 1000, truncated, settled)

    def cancel(self, name: str) -> bool:
        """End the query that runs under this name, whose caller gets a QueryError; False where none does."""
        with translated(self.connection), self._session(neo4j.READ_ACCESS) as session:
            return bool(list(session.run(CANCEL, name=name)))

    @contextmanager
    def _ended_with_us(self, name: str) -> Iterator[None]:
        """On Ctrl-C end the query at the server as well: else the driver waits for its answer first."""
        try:
            yield
        except KeyboardInterrupt:
            self.cancel(name)
            raise

    @contextmanager
    def _blamed_on_the_query(self) -> Iterator[None]:
        """A server that breaks down on one query and answers the next is not what failed: the query is."""
        try:
            yield
        except neo4j.exceptions.DatabaseError as error:
            with suppress(neo4j.exceptions.Neo4jError, neo4j.exceptions.DriverError, OSError):
                self._ask_trivially()
                raise QueryError(BROKEN_DOWN.format(said=_short(error))) from error
            raise

    def explain(self, text: str, parameters: Mapping[str, Any]) -> Plan:
        """The plan of a query; nothing is run."""
        with (
            translated(self.connection, shift=len("EXPLAIN ")),
            self._blamed_on_the_query(),
            self._session(neo4j.READ_ACCESS) as session,
            _left_after(PLAN_S, session, UNPLANNED),
        ):
            query = neo4j.Query("EXPLAIN " + text, timeout=PLAN_S)  # pyright: ignore[reportArgumentType]
            result = session.run(query, dict(parameters))
            columns, summary = tuple(result.keys()), result.consume()
        top = _step(summary.plan) if summary.plan else None
        return Plan(summary.query_type or "", tuple(_operators(top)) if top else (), top, columns)

    def write(self, work: Callable[["Transaction"], T], timeout_s: float | None = None) -> T:
        """Do `work` in one transaction: all of it or nothing; done again where another writer was in the way.

        Not the driver's own `execute_write`: that goes on trying for as long when the server is gone.
        """

        def attempt() -> T:
            with self._session(neo4j.WRITE_ACCESS) as session, session.begin_transaction(timeout=timeout_s) as tx:
                done = work(Transaction(tx))
                tx.commit()
                return done

        with translated(self.connection):
            return _again_after_deadlocks(attempt)

    @contextmanager
    def held(self, work: Callable[["Transaction"], T]) -> Iterator[T]:
        """What `work` returns, in a transaction that keeps its locks until the block ends and is then undone."""
        session = self._session(neo4j.WRITE_ACCESS)
        try:
            with translated(self.connection):
                done = work(Transaction(session.begin_transaction()))
            yield done
        finally:
            with suppress(neo4j.exceptions.Neo4jError, neo4j.exceptions.DriverError, OSError):  # it may be gone
                session.close()

    def other_connections(self) -> int:
        """How many connections to this server are not ours."""
        return self.read(_OTHERS, {"agent": self._agent}).records[0]["others"]

    def run_schema(self, text: str) -> None:
        """Run a command on the schema, which cannot share a transaction with data; done again like `write`.

        To make what is there, under this or another name, is no failure: another command may have made it just now.
        """

        def attempt() -> None:
            with self._session(neo4j.WRITE_ACCESS) as session:
                try:
                    session.run(text).consume()  # pyright: ignore[reportArgumentType]
                except neo4j.exceptions.ClientError as error:
                    if not ALREADY_THERE.fullmatch(error.code or ""):
                        raise

        with translated(self.connection):
            _again_after_deadlocks(attempt)

    def _ask_trivially(self) -> None:
        with self._session(neo4j.READ_ACCESS) as session:
            session.run("RETURN 1").consume()

    def _session(self, mode: str, rows_at_once: int = 1000) -> neo4j.Session:
        database = self.connection.database
        return self._driver.session(database=database, default_access_mode=mode, fetch_size=rows_at_once)


def _again_after_deadlocks(attempt: Callable[[], T]) -> T:
    """What an attempt to write returns, made again where another writer was in the way."""
    deadline = time.monotonic() + MAX_RETRY_S
    while True:
        try:
            return attempt()
        except neo4j.exceptions.TransientError as error:
            if _lacks_memory(error) or not error.is_retryable() or time.monotonic() > deadline:
                raise
            time.sleep(random.uniform(0.05, 0.5))  # at random, so that two writers do not meet again


class Transaction:
    """What the work of `Client.write` may do."""

    def __init__(self, tx: neo4j.Transaction):
        self._tx = tx

    def send(self, text: str, **parameters: Any) -> None:
        """Run one statement whose rows nobody needs, without waiting: the server works while the next one is packed.

        What fails is raised by a later call, or by the commit.
        """
        self._tx.run(text, parameters)  # pyright: ignore[reportArgumentType]

    def run(self, text: str, **parameters: Any) -> list[dict[str, Any]]:
        """All rows of one statement.

        Raises:
            QueryError: It needs more memory than a transaction may use; the driver itself would try again and again.
        """
        try:
            result = self._tx.run(text, parameters)  # pyright: ignore[reportArgumentType]
            return [{key: plain(value) for key, value in record.items()} for record in result]
        except neo4j.exceptions.TransientError as error:
            if _lacks_memory(error):
                raise _too_large() from error
            raise


def plain(value: Any) -> Any:
    """A value of the driver as plain Python; graph values become dicts that say in `_kind` what they are.

    A node is {_kind: "node", _id, _labels, ...properties}, a relationship {_kind: "relationship", _id, _type,
    _source, _target, ...properties} and a path {_kind: "path", nodes, relationships}.
    """
    if type(value) in PLAIN:
        return value
    if isinstance(value, neo4j.graph.Node):
        return {"_kind": "node", "_id": value.element_id, "_labels": sorted(value.labels)} | _properties(value)
    if isinstance(value, neo4j.graph.Relationship):
        ends = {
            f"_{name}": node.element_id for name, node in zip(("source", "target"), value.nodes, strict=True) if node
        }
        return {"_kind": "relationship", "_id": value.element_id, "_type": value.type} | ends | _properties(value)
    if isinstance(value, neo4j.graph.Path):
        parts = {"nodes": value.nodes, "relationships": value.relationships}
        return {"_kind": "path"} | {name: [plain(part) for part in some] for name, some in parts.items()}
    if isinstance(value, list | tuple):
        if PLAIN.issuperset(map(type, value)):  # in a thirtieth of the time: a row may hold ten million numbers
            return list(value)
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, neo4j.time.DateTime | neo4j.time.Date | neo4j.time.Time | neo4j.time.Duration):
        return value.iso_format()
    return str(value)  # points, vectors, bytes: shown, never computed with


def _properties(entity: neo4j.graph.Entity) -> dict[str, Any]:
    return {key: plain(value) for key, value in entity.items()}


def _first_rows(result: neo4j.Result, max_rows: int | None, max_size: int | None) -> tuple[list[dict[str, Any]], bool]:
    records: list[dict[str, Any]] = []
    size = 0
    for record in result:
        if max_rows is not None and len(records) == max_rows:
            return records, True
        row = {key: plain(value) for key, value in record.items()}
        size += _size(row) if max_size is not None else 0
        if max_size is not None and size > max_size:
            if records:
                return records, True
            raise QueryError(
                f"One row has {size:,} characters and numbers; expected at most {max_size:,}. Return less of each: "
                "size(list), left(text, 100), or rows instead of a list."
            )
        records.append(row)
    return records, False


def _size(value: Any) -> int:
    """How many characters and numbers a plain value holds."""
    match value:
        case str():
            return len(value)
        case dict():
            return sum(_size(each) for each in value.values())
        case list() if NUMBERS.issuperset(map(type, value)):
            return len(value)
        case list():
            return sum(_size(each) for each in value)
        case _:
            return 1


def _step(plan: Mapping[str, Any]) -> Step:
    arguments = plan.get("args", {})
    return Step(
        str(plan.get("operatorType", "")).partition("@")[0],
        str(arguments.get("Details", "")),
        arguments.get("EstimatedRows"),
        tuple(_step(child) for child in plan.get("children", ())),
    )


def _operators(step: Step) -> Iterator[tuple[str, str]]:
    yield step.operator, step.details
    for source in step.sources:
        yield from _operators(source)


@contextmanager
def _left_after(timeout_s: float | None, session: neo4j.Session, said: str) -> Iterator[None]:
    """Give up a server that says nothing long after its own time limit: throw the connection away, and say this.

    A server looks at its limit, and at `cancel`, between two rows: not inside one expression, and never again where it
    broke down.
    """
    if timeout_s is None:
        yield
        return
    late = threading.Event()

    def leave() -> None:
        late.set()
        connection = session._connection  # the driver has a public way in its asynchronous half alone
        if connection:
            connection.kill()

    timer = threading.Timer(timeout_s + PATIENCE_S, leave)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (neo4j.exceptions.DriverError, neo4j.exceptions.Neo4jError, OSError, ValueError) as error:
        if late.is_set():
            raise QueryError(said) from error
        raise
    finally:
        timer.cancel()


@contextmanager
def translated(connection: Connection, shift: int = 0) -> Iterator[None]:
    """Failures of the driver as ours, in one or two sentences.

    Args:
        shift: Characters put before the text that the user typed, so that columns are the user's.
    """
    try:
        yield
    except UnicodeEncodeError as error:
        raise QueryError(no_text(error)) from error
    except neo4j.exceptions.AuthError as error:
        remedy = "Check THROUGHLINE_NEO4J_USER and THROUGHLINE_NEO4J_PASSWORD."
        if connection.folder:
            remedy = (
                f"Its password stands in {connection.folder / 'password'}: put back the file that was made with the "
                "database, or run `throughline db reset` and `throughline rebuild`."
            )
        raise LoginError(
            f"Neo4j at {connection.uri} refused the login of {connection.user!r} ({_short(error)}). {remedy}"
        ) from error
    except (
        neo4j.exceptions.ServiceUnavailable,
        neo4j.exceptions.SessionExpired,
        neo4j.exceptions.IncompleteCommit,
        OSError,
    ) as error:
        raise StoreUnreachableError(
            f"Neo4j at {connection.uri} does not answer; expected a running server. Start it "
            "(`throughline db start` for the local one) or check THROUGHLINE_NEO4J_URI; nothing stored was lost."
        ) from error
    except (neo4j.exceptions.Neo4jError, neo4j.exceptions.DriverError, ValueError, TypeError) as raised:
        # a result that is asked again after it failed names the failure as its cause
        error = raised.__cause__ if isinstance(raised, neo4j.exceptions.ResultFailedError) else raised
        if not isinstance(error, neo4j.exceptions.Neo4jError):
            raise StoreError(f"Neo4j at {connection.uri} cannot be used: {raised}.") from raised
        if isinstance(error.__context__, KeyboardInterrupt):  # which ended the query, and this is the answer to that
            raise error.__context__ from None
        raise _refusal(connection, error, shift) from error


def _refusal(connection: Connection, error: neo4j.exceptions.Neo4jError, shift: int) -> StoreError:
    code, message = error.code or "", _short(error)
    if "TransactionTimedOut" in code or "timeout" in code.lower():
        return QueryError("The query took longer than its time limit and was stopped. Narrow it (a graph_id, a LIMIT).")
    if code == CANCELLED:
        return QueryError("The query was cancelled.")
    if _lacks_memory(error):
        return _too_large()
    if code.startswith("Neo.ClientError.Database.DatabaseNotFound"):
        return StoreError(f"Neo4j at {connection.uri} has no database {connection.database!r}. Name one that exists.")
    if error.gql_status == NOT_IN_THIS_EDITION:
        return QueryError(f"{message}")
    if code.startswith("Neo.DatabaseError") or "DatabaseUnavailable" in code or "ReadOnly" in code:
        return StoreUnreachableError(
            f"Neo4j at {connection.uri} cannot go on ({message}), most often because its disk is full. Make room, then "
            "stop and start it (`throughline db stop` for the local one); what was stored before is still there."
        )
    if code.startswith("Neo.ClientError") and not code.startswith("Neo.ClientError.Transaction"):
        line, column = _place(error.message or "", shift)
        at = f" (line {line}, column {column})" if line else ""
        return QueryError(f"{message}{at}{_remedy(message, bool(line))}", line, column)
    return StoreError(f"Neo4j at {connection.uri} failed: {message} ({code}). What was stored before is still there.")


def _remedy(message: str, placed: bool) -> str:
    """What to do about a text that the server refuses, after what it says itself."""
    expected = "" if "expect" in message.lower() else "; expected Cypher that the server can run"
    return f"{expected}. {'Correct it there.' if placed else 'Correct the text or its parameters.'}"


def _lacks_memory(error: neo4j.exceptions.Neo4jError) -> bool:
    return "MemoryPool" in (error.code or "") or "OutOfMemory" in (error.code or "")


def _too_large() -> QueryError:
    return QueryError(
        "More memory was needed than one transaction may use (db.memory.transaction.max), and it was stopped. "
        "Narrow the query, prune the graph further, or raise the limit."
    )


def _short(error: neo4j.exceptions.Neo4jError) -> str:
    """The first sentence of what the server says, without the copy of the query below it."""
    text = (error.message or "").strip().splitlines()
    first = re.sub(r"\s*\(line \d+, column \d+.*$", "", text[0] if text else type(error).__name__).strip()
    if len(first) <= SHORT:
        return first
    return first[:SHORT].rsplit(", ", 1)[0] + ", …"  # "expected" can be followed by forty keywords


def _place(message: str, shift: int) -> tuple[int | None, int | None]:
    found = re.search(r"line (\d+), column (\d+)", message)
    if not found or found[1] == "0":
        return None, None
    line, column = int(found[1]), int(found[2])
    return line, max(column - shift, 1) if line == 1 else column
