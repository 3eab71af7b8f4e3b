"""What a user's Cypher may do: judged by the server's plan of it, and by its text where the plan says too little."""

import re
from collections.abc import Iterator

from ingest.bolt import Plan
from tracer.errors import QueryError

ALLOWED_PROCEDURES = (
    "db.labels",
    "db.relationshipTypes",
    "db.propertyKeys",
    "db.schema.visualization",
    "db.schema.nodeTypeProperties",
    "db.schema.relTypeProperties",
    "db.index.fulltext.queryNodes",
    "db.index.fulltext.queryRelationships",
    "db.index.fulltext.listAvailableAnalyzers",
)
ALLOWED_SHOW = ("ShowIndexes", "ShowConstraints", "ShowFunctions", "ShowProcedures")
OWN_FUNCTIONS = ("date", "datetime", "duration", "localdatetime", "localtime", "point", "time", "vector.similarity")
NO_CODE = re.compile(r"""//[^\r\n]*|/\*.*?(?:\*/|\Z)|'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|(`(?:``|[^`])*`)""", re.DOTALL)
CALLED = re.compile(r"[\w`]+(?:\s*\.\s*[\w`]+)+(?=\s*\()")
OTHER_DATABASE = re.compile(r"(?<![\w.:$`])(?<!\bas\s)use\s+[\w`]", re.IGNORECASE)


def check_text(text: str) -> None:
    """Let a text pass that names no other database and calls no function of a plugin.

    The plan tells neither: a function of a plugin can run any query or fetch any address, and stands in the plan as an
    expression among others.

    Raises:
        QueryError: It does one of these.
    """
    for code in _codes(text):
        if OTHER_DATABASE.search(re.sub("`[^`]*`", "``", code)):
            raise _refused(
                "USE names a database", "a query of this database alone (a name like that goes in `backticks`)"
            )
        for found in CALLED.finditer(code):
            name = re.sub(r"[\s`]", "", found[0])
            if name.lower().rpartition(".")[0] not in OWN_FUNCTIONS and name not in ALLOWED_PROCEDURES:
                if name.lower() in (meant := {allowed.lower(): allowed for allowed in ALLOWED_PROCEDURES}):
                    raise QueryError(
                        f"there is no procedure {name}; expected {meant[name.lower()]}. Capitals matter here."
                    )
                raise _refused(f"{name} is none of Cypher's own functions", "those and the procedures that are allowed")


def check_plan(plan: Plan) -> None:
    """Let a plan pass that only reads this database.

    Raises:
        QueryError: It writes, administers, reads files or addresses, or calls a procedure that is not on the list.
    """
    if plan.query_type != "r" or not plan.operators:
        raise _refused("it writes or administers", "a query that only reads (MATCH, CALL, UNWIND, RETURN)")
    for operator, details in plan.operators:
        if operator == "LoadCSV":
            raise _refused("LOAD CSV reads files and addresses", "a query of this database alone")
        if "ProcedureCall" in operator and _called(details) not in ALLOWED_PROCEDURES:
            raise _refused(f"procedure {_called(details)} is not allowed", f"one of {', '.join(ALLOWED_PROCEDURES)}")
        if operator.startswith(("Show", "Terminate")) and operator not in ALLOWED_SHOW:
            raise _refused(f"{operator} tells about the server", "a query of the data, or SHOW INDEXES")
        if operator.endswith("Command") or "Administration" in operator:
            raise _refused(f"{operator} administers the server", "a query that only reads")


def _codes(text: str) -> Iterator[str]:
    """The text without strings and comments, names in backticks without odd characters.

    Cypher 5 reads escapes as `\\u0043` before it looks for strings, Cypher 25 afterwards: both readings are given.
    """
    for read in (text, re.sub(r"\\u+([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), text)):
        yield NO_CODE.sub(_in_its_place, read)


def _in_its_place(found: re.Match[str]) -> str:
    name = found[1]
    return "`" + re.sub(r"[^\w.]", "_", name[1:-1]) + "`" if name else " '' "


def _called(details: str) -> str:
    return details.partition("(")[0].strip()


def _refused(seen: str, expected: str) -> QueryError:
    return QueryError(f"this Cypher is refused: {seen}; expected {expected}. Take that part out.")
