"""What a user's Cypher may do, judged by the server's own plan of it and not by its text."""

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


def _called(details: str) -> str:
    return details.partition("(")[0].strip()


def _refused(seen: str, expected: str) -> QueryError:
    return QueryError(f"this Cypher is refused: {seen}; expected {expected}. Take that part out.")
