"""Every error this project raises on purpose, each with a message that says seen, expected and remedy.

CircuitError
  + GraphFormatError        a graph, file or table breaks the schema
  + SettingError            a setting (threshold, device, kind of target) has a value that cannot be used
  + PatternError            a circuit pattern, role or parameter cannot be understood
  + PromptError             a prompt or target cannot be traced (empty, too long, unknown token)
  + UnsupportedModelError   a model has no adapter, or its adapter fails the check at load
  + DictionaryError         a transcoder folder is broken or does not fit the model
  + StoreError              the database is unreachable, refused a query, or ran out of room
      + StoreUnreachableError  no server answers, or it can do nothing more until it is restarted
          + LoginError         the server answers, but not to this user with this password
      + QueryError          a Cypher text or its parameters are refused; carries the place
"""

from collections.abc import Iterator
from contextlib import contextmanager


class CircuitError(Exception):
    """Base class; caught at the command line and in the app, nowhere else."""


class GraphFormatError(CircuitError):
    """A graph, file or table breaks the schema."""


class SettingError(CircuitError):
    """A setting (threshold, device, kind of target) has a value that cannot be used."""


class PatternError(CircuitError):
    """A circuit pattern, role or parameter cannot be understood."""


class PromptError(CircuitError):
    """A prompt or target cannot be traced."""


class UnsupportedModelError(CircuitError):
    """A model has no adapter, or its adapter fails the check at load."""


class DictionaryError(CircuitError):
    """A transcoder folder is broken or does not fit the model."""


class StoreError(CircuitError):
    """The database is unreachable, refused a query, or ran out of room."""


class StoreUnreachableError(StoreError):
    """No server answers, or it can do nothing more until it is restarted."""


class LoginError(StoreUnreachableError):
    """The server answers, but not to this user with this password."""


class QueryError(StoreError):
    """A Cypher text or its parameters are refused."""

    def __init__(self, message: str, line: int | None = None, column: int | None = None):
        super().__init__(message)
        self.line = line  # 1-based, in the text as typed
        self.column = column  # 1-based


@contextmanager
def naming(place: object) -> Iterator[None]:
    """Give an OSError that names no file, as that of a full disk, the name of this place."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(place)
        raise


def no_text(error: UnicodeEncodeError) -> str:
    """What to say of characters that no encoding has, as bytes on a command line that are no UTF-8 become."""
    seen = error.object[max(0, error.start - 20) : error.end + 20]
    return f"{seen!r} holds bytes that are no text; expected UTF-8. Type it again."
