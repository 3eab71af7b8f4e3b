"""A query of the Cypher page while it runs: in a thread of its own, so that the page can offer to cancel it."""

import threading
import time
import uuid
from collections.abc import Callable, Hashable
from contextlib import suppress

from ingest.bolt import Rows
from tracer.errors import QueryError


class RunningQuery:
    """Asked when it is made; its answer is kept.

    >>> query = RunningQuery("which", lambda name: Rows(("x",), [{"x": 1}], 0.1), lambda name: False)
    >>> query.wait(10), query.answer().records
    (True, [{'x': 1}])
    """

    def __init__(self, which: Hashable, ask: Callable[[str], Rows], cancel: Callable[[str], bool]):
        """
        Args:
            which: Tells one question from another.
            ask: Gives the answer of the query, which it runs under the name that it is handed.
            cancel: Ends the query of this name; False where it does not run yet.
        """
        self.which, self.began = which, time.monotonic()
        self._ask, self._cancel, self._name = ask, cancel, str(uuid.uuid4())
        self._rows: Rows | None = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Whether the answer is there, after so many seconds at most."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def answer(self) -> Rows:
        """What came out. Raises what the query raised, or QueryError where it was cancelled."""
        self._thread.join()
        if self._error:
            raise self._error
        assert self._rows is not None
        return self._rows

    def cancel(self) -> None:
        """End it at the server, as soon as it has begun there."""
        threading.Thread(target=self._cancel_until_it_ends, daemon=True).start()

    def _run(self) -> None:
        try:
            self._rows = self._ask(self._name)
        except Exception as error:
            self._error = error

    def _cancel_until_it_ends(self) -> None:
        while self._thread.is_alive():
            with suppress(QueryError):
                self._cancel(self._name)
            self._thread.join(0.2)
