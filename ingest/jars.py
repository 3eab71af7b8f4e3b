"""The jars of Neo4j, pinned by SHA-256 and fetched with a Maven client."""

import hashlib
import os
import tomllib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from tracer.errors import StoreError

LOCK_FILE = Path(__file__).parent / "jars.lock.toml"
N_THREADS = 8  # measured: 28 s for 176 MB; one thread needs minutes, more than 8 gain nothing
TIMEOUT_S = 30
SIZE_MB = 176  # of all jars

Progress = Callable[[int, int, str], None]  # done, total, what


@dataclass(frozen=True)
class Jar:
    """One pinned file; the fields are the columns of `jars.lock.toml`."""

    group: str
    artifact: str
    version: str
    classifier: str
    sha256: str

    @property
    def file_name(self) -> str:
        """Name as in every Maven repository."""
        suffix = f"-{self.classifier}" if self.classifier else ""
        return f"{self.artifact}-{self.version}{suffix}.jar"

    def path_in(self, folder: Path) -> Path:
        """Where the Maven client keeps this jar below its folder."""
        return folder.joinpath(*self.group.split("."), self.artifact, self.version, self.file_name)


def read_lock() -> tuple[Jar, ...]:
    """Every jar of the pinned server.

    >>> [jar.version for jar in read_lock() if (jar.group, jar.artifact) == ("org.neo4j", "neo4j")]
    ['2026.08.1']
    """
    return tuple(Jar(*row) for row in tomllib.loads(LOCK_FILE.read_text(encoding="utf-8"))["jars"])


def fetch_jars(folder: Path, progress: Progress | None = None, jars: tuple[Jar, ...] = ()) -> list[Path]:
    """Paths of all jars, each with the pinned hash; what is already there and good is kept.

    Args:
        folder: Cache; an interrupted fetch goes on where it stopped.
        progress: Told jars done and jars in all, only when something has to be fetched.
        jars: Another list than the pinned one.

    Raises:
        StoreError: A jar cannot be fetched, or has another hash than the pinned one even when fetched anew.
    """
    jars = jars or read_lock()
    report = progress or (lambda done, total, what: None)
    if _missing(jars, folder):
        with _alone(folder, len(jars), report):
            if missing := _missing(jars, folder):  # who held the lock may have fetched them
                _fetch_all(missing, folder, len(jars), report)
    return jar_paths(folder, jars)


def jar_paths(folder: Path, jars: tuple[Jar, ...] = ()) -> list[Path]:
    """Where all jars, or those of another list than the pinned one, are once they are fetched."""
    return [jar.path_in(folder) for jar in jars or read_lock()]


def _missing(jars: tuple[Jar, ...], folder: Path) -> list[Jar]:
    return [jar for jar in jars if not _is_good(jar, folder)]


@contextmanager
def _alone(folder: Path, total: int, report: Progress) -> Iterator[None]:
    """One process at a time fetches: what another has half written looks damaged, and would be thrown away."""
    lock = FileLock(folder / "fetching.lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            report(0, total, "waiting: another command fetches Neo4j")
            lock.acquire()
    except OSError as error:
        raise _cannot_fetch(0, total, folder, error) from error
    try:
        yield
    finally:
        lock.release()


def _is_good(jar: Jar, folder: Path) -> bool:
    path = jar.path_in(folder)
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == jar.sha256


def _fetch_all(missing: list[Jar], folder: Path, total: int, report: Progress) -> None:
    from jgo.maven import MavenContext  # a second of imports, needed once in the life of an installation

    mirror = os.environ.get("THROUGHLINE_MAVEN")  # a company's own repository; every file is checked all the same
    context = MavenContext(
        repo_cache=folder, timeout=TIMEOUT_S, remote_repos={"mirror": mirror.rstrip("/")} if mirror else None
    )
    done = total - len(missing)
    report(done, total, "fetching Neo4j")
    with ThreadPoolExecutor(N_THREADS) as pool:
        futures = [pool.submit(_fetch, jar, folder, context) for jar in missing]
        try:
            for future in as_completed(futures):
                future.result()
                done += 1
                report(done, total, "fetching Neo4j")
        except OSError as error:
            raise _cannot_fetch(done, total, folder, error) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _fetch(jar: Jar, folder: Path, context) -> None:
    """Fetch one jar; a file with another hash (cut off, changed) is thrown away and fetched once more."""
    for _ in range(2):
        jar.path_in(folder).unlink(missing_ok=True)  # what is there is not good; the client would keep it
        try:
            context.project(jar.group, jar.artifact).at_version(jar.version).artifact(jar.classifier).resolve()
        except RuntimeError as error:  # the client's word for a file that no repository has
            raise OSError(f"{jar.file_name} is not in the Maven repository") from error
        if _is_good(jar, folder):
            return
    jar.path_in(folder).unlink(missing_ok=True)
    raise StoreError(
        f"{jar.file_name} arrived twice with another content than the pinned one (SHA-256 {jar.sha256[:12]}… "
        "expected); nothing was started. Check what stands between this machine and the Maven repository "
        "(a proxy that rewrites files?) and run the command again."
    )


def _cannot_fetch(done: int, total: int, folder: Path, error: OSError) -> StoreError:
    if error.filename is not None and error.errno is not None:  # on this machine, not on the way to it
        return StoreError(
            f"{error.filename}: {error.strerror}; expected a place for Neo4j's jars, with room for {SIZE_MB} MB. "
            "Choose another folder with THROUGHLINE_JARS, or free some space, and run the command again."
        )
    if error.errno is not None:
        reason = error.strerror
    else:
        reason = f"{type(error).__name__}" if type(error) is not OSError else str(error)
    return StoreError(
        f"{done} of the {total} jars of Neo4j are in {folder}, and the next could not be fetched ({reason}); "
        "they are needed once. Run the command again with a network connection (it goes on where it stopped), "
        "or set THROUGHLINE_NEO4J_URI to a Neo4j server of yours."
    )
