"""Labels that Neuronpedia has of features, fetched one by one from its public API, slowly and never twice.

Facts of its documentation (docs.neuronpedia.org: API; Accounts, API Keys & Limits): GET
`/api/feature/{model}/{layer}-{set}/{index}` answers with a feature and its `explanations`, each with a `description`;
it needs no key, one may be sent as `x-api-key` (`NEURONPEDIA_API_KEY`); requests are limited in each 60-minute window.
"""

import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ingest.documents import short, whole_characters
from ingest.home import home
from ingest.labels import Label, now
from ingest.library import Library
from ingest.replacing import replacing
from tracer.errors import CircuitError, GraphFormatError, SettingError
from tracer.graph import read_metadata
from tracer.schema import NodeKind

ADDRESS = "https://www.neuronpedia.org"
PAUSE_S = 1.0  # between two requests: 3,600 in the window of an hour, in which the site counts them
TIMEOUT_S = 30.0
MOST_BYTES = 16 << 20  # of an answer; with all its activations a feature has up to one
TIMES = 4  # a request that fails for the moment is made so often, with twice the pause each time

Progress = Callable[[int, int, str], None]  # done, total, what


class Neuronpedia:
    """The API, asked at most once in `pause_s`; what was answered stays in a folder and is not asked again."""

    def __init__(self, address: str = ADDRESS, cache: Path | None = None, pause_s: float = PAUSE_S):
        self._address, self._pause_s = address.rstrip("/"), pause_s
        self._cache = cache or home() / "cache" / "neuronpedia"
        self._last = -pause_s

    def labels(
        self, source_set: str, features: Iterable[tuple[int, int]], progress: Progress | None = None
    ) -> Iterator[Label]:
        """The explanations of these features (layer, index); those without one give none.

        Args:
            source_set: Model and set as Neuronpedia names them, such as `gemma-2-2b/clt-hp`.

        Raises:
            SettingError: The dictionary is not named like one of Neuronpedia.
            CircuitError: The site cannot be reached or wants no more requests now; what came before is kept.
        """
        model, slash, name = source_set.partition("/")
        if not slash or not model or not name or "/" in name:
            raise SettingError(
                f"{source_set!r} is no dictionary of Neuronpedia; expected model/set such as gemma-2-2b/clt-hp. "
                "`throughline list` shows the dictionaries of your graphs."
            )
        features = list(features)
        for done, (layer, index) in enumerate(features):
            if progress:
                progress(done, len(features), "asking Neuronpedia")
            for text, by in self._explanations(model, f"{layer}-{name}", index):
                yield Label(layer, index, text, "import", by, "", now())
        if progress:
            progress(len(features), len(features), "asking Neuronpedia")

    def _explanations(self, model: str, source: str, index: int) -> list[tuple[str, str]]:
        """(text, whose) of each explanation, from the folder where it was asked before."""
        parts = [quote(part, safe="").replace(".", "%2E") for part in (model, source)]
        kept = self._cache.joinpath(*parts, f"{index}.json")
        if (found := _remembered(kept)) is not None:
            return found
        path = f"/api/feature/{quote(model, safe='')}/{quote(source, safe='')}/{index}"
        found = _descriptions(self._asked(path), self._address + path)
        with replacing(kept) as out:
            out.write(json.dumps(found, ensure_ascii=False).encode())
        return found

    def _asked(self, path: str) -> Any:
        """The JSON at this path; None where there is no such feature."""
        for again in range(TIMES):
            time.sleep(max(0.0, self._last + self._pause_s * 2**again - time.monotonic()))
            self._last = time.monotonic()
            try:
                with urllib.request.urlopen(self._request(path), timeout=TIMEOUT_S) as answer:
                    body = answer.read(MOST_BYTES)
                    if answer.length and len(body) < MOST_BYTES:  # `read` of so many bytes says nothing of the rest
                        raise http.client.IncompleteRead(body, answer.length)
                return _parsed(body)
            except urllib.error.HTTPError as error:
                error.close()
                if error.code == 404:
                    return None
                if error.code == 429:
                    wait = error.headers.get("Retry-After")
                    raise CircuitError(
                        f"{self._address} wants no more requests now (429{f', again in {wait} s' if wait else ''}); "
                        "expected to be below its limit for the hour. What was fetched is kept: run the command again "
                        "later, or set NEURONPEDIA_API_KEY."
                    ) from None
                if error.code < 500 or again == TIMES - 1:
                    raise _unreachable(self._address + path, f"it answers {error.code}") from None
            except (ValueError, RecursionError) as error:
                raise _unreachable(self._address + path, f"no JSON ({short(str(error))})") from None
            except OSError as error:  # no network, no name, too slow
                if again == TIMES - 1:
                    raise _unreachable(self._address + path, str(error)) from None
            except http.client.HTTPException as error:  # cut short, or not HTTP
                if again == TIMES - 1:
                    raise _unreachable(self._address + path, f"a broken answer ({short(error)})") from None
        raise AssertionError("the last time either answers or raises")

    def _request(self, path: str) -> urllib.request.Request:
        headers = {"Accept": "application/json", "User-Agent": "throughline"}
        if key := os.environ.get("NEURONPEDIA_API_KEY"):
            headers["x-api-key"] = key
        return urllib.request.Request(self._address + path, headers=headers)


def unlabelled_features(source_set: str, library: Library) -> list[tuple[int, int]]:
    """(layer, index) of the features of a dictionary that have no label in some graph, the most frequent first."""
    times: Counter[tuple[int, int]] = Counter()
    for graph_id in library.ids():
        if read_metadata(library.place(graph_id))["source_set"] != source_set:
            continue
        graph = library.load(graph_id)
        features = graph.nodes[graph.slice_of(NodeKind.FEATURE)]
        bare = features[(features["label"] == "") & features["kept"]]
        times.update(set(zip(bare["layer"].tolist(), bare["index"].tolist(), strict=True)))
    return [feature for feature, _ in sorted(times.items(), key=lambda item: (-item[1], item[0]))]


def _remembered(kept: Path) -> list[tuple[str, str]] | None:
    """What was answered before; None where that was never asked, or the file is damaged and better written anew."""
    try:
        found = _parsed(kept.read_bytes())
    except (FileNotFoundError, ValueError, RecursionError):
        return None
    if isinstance(found, list) and all(_is_pair(each) for each in found):
        return [(text, by) for text, by in found]
    return None


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and [type(part) for part in value] == [str, str]


def _parsed(content: bytes) -> Any:
    """The JSON value in these bytes, with texts that a file can hold."""
    return whole_characters(Counter(), json.loads(content))


def _descriptions(answer: Any, url: str) -> list[tuple[str, str]]:
    if answer is None:
        return []
    explanations = answer.get("explanations") if isinstance(answer, dict) else None
    if not isinstance(explanations, list):
        raise GraphFormatError(
            f"{url}: no list of explanations; expected a feature as Neuronpedia's API describes it. Look at the "
            "address in a browser; its API may have changed."
        )
    found = []
    for each in explanations:
        text = each.get("description") if isinstance(each, dict) else None
        if isinstance(text, str) and text.strip():
            model = each.get("explanationModelName")
            found.append((text, f"Neuronpedia, {model}" if isinstance(model, str) and model else "Neuronpedia"))
    return found


def _unreachable(url: str, why: str) -> CircuitError:
    return CircuitError(
        f"{url}: {why}; expected an answer of Neuronpedia. Check the network and the name of the dictionary; what was "
        "fetched before is kept."
    )
