"""The command `throughline`: each command calls the function of the same name in the rooms."""

import io
import sys
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter
from cyclopts.config import Dict
from cyclopts.validators import Number

from app import INTERRUPTED, across, keep_commands
from app.circuit_commands import keep
from app.label_commands import labels
from app.supernode_commands import supernodes
from app.terminal import Format, log_on_stderr, notes, print_json_lines, print_rows, progress_bar, say
from circuits.config import LIMIT, SearchConfig
from ingest.export_formats import HOLD_MARKS, ExportFormat, format_of
from tracer.config import PEER_SETTINGS, Dtype, TraceConfig
from tracer.errors import CircuitError, PatternError, PromptError, SettingError, UnsupportedModelError, no_text

BAD_INPUT = 2  # exit code wherever one sentence says what was wrong

cli = App(
    name="throughline",
    help="Trace what a language model computes on prompts, keep the graphs in Neo4j, find the circuits in them.",
    help_format="plaintext",
    result_action="return_value",
    suppress_keyboard_interrupt=False,  # main() says what an interrupt leaves
    version=version("throughline"),
)
db = App(name="db", help="The local Neo4j server: every other command starts it when it needs it.")
cli.command(db)
cli.command(labels)
cli.command(keep)
cli.command(supernodes)
cli.command(across.compare)
cli.command(across.mine)
for name, keeping in keep_commands.COMMANDS.items():
    cli.command(keeping, name=name)


def main(arguments: list[str] | None = None) -> None:
    """Run one command; a CircuitError becomes one sentence on stderr and exit code 2."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")  # labels hold any character; a redirected Windows console does not
    try:
        code = cli(arguments, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        fail(f"{str(error).strip()} See `throughline --help`.")
    except CircuitError as error:
        fail(str(error))
    except UnicodeEncodeError as error:
        fail(no_text(error))
    except BrokenPipeError:
        sys.exit(0)  # the reader of a pipe has seen enough
    except MemoryError:
        fail(
            "Memory ran out; expected enough for what was asked. Ask for less at a time (fewer files, a shorter "
            "prompt) or free memory. What was stored is unharmed."
        )
    except OSError as error:
        if error.strerror is None:
            raise
        fail(
            f"{error.filename or 'a file'}: {error.strerror}; expected a place that can be read or written, with room. "
            "Choose another one, free some space, or set THROUGHLINE_HOME to a folder on another disk. What was stored "
            "is unharmed."
        )
    except KeyboardInterrupt:
        notes.print("Interrupted. Everything finished before this is kept; run the command again to go on.")
        sys.exit(INTERRUPTED)
    sys.exit(code or 0)


def fail(message: str) -> None:
    """Print one sentence to stderr and leave with the exit code for bad input."""
    notes.print(message, markup=False, soft_wrap=True, style="red")
    sys.exit(BAD_INPUT)


@cli.command
def demo(*, open_app: bool = True) -> None:
    """Trace 24 prompts with the model that ships, load them into Neo4j, and find Dallas -> Texas -> Austin.

    Args:
        open_app: In a terminal, open the dashboard at the end and stay.
    """
    from app.demo import run_demo

    run_demo(open_app=open_app and sys.stdout.isatty())


def peer_settings(app: App, commands: tuple[str, ...], arguments: Any) -> None:
    """What `--like` stands for, as if from a configuration file: an option given on the command line goes before."""
    for argument in arguments:
        if argument.name == "--like" and argument.tokens:
            peer = argument.tokens[-1].value
            settings = PEER_SETTINGS.get(peer, {})  # cyclopts refuses another name
            Dict(dict(settings), source=f"--like {peer}", use_commands_as_keys=False)(app, commands, arguments)


@cli.command(config=peer_settings)
def trace(
    *prompt: str,
    model: str,
    transcoders: str,
    token_ids: Annotated[list[str], Parameter(negative=())] = [],  # noqa: B006 - cyclopts wants a list
    file: Path | None = None,
    out: Path | None = None,
    like: Literal["circuit-tracer"] | None = None,
    config: Annotated[TraceConfig | None, Parameter(name="*")] = None,
) -> None:
    """Trace prompts into attribution graphs, saved as folders that `throughline ingest` takes.

    Args:
        prompt: Texts to trace.
        model: Folder of a Hugging Face model, or its name on the hub.
        transcoders: Folder of the model's transcoders, or their name on the hub.
        token_ids: A prompt as token ids, taken as they are, such as 2,17,5; may be repeated.
        file: A text file with one prompt a line, or .jsonl with {"text", "token_ids" or "messages", "slug"?, "roles"?};
            what else a line names is left alone.
        out: For a single prompt given here, the folder that becomes its graph, replacing one that is there. For
            several, and always with --file, a folder that receives a folder per graph (default: graphs); what was
            traced there before with the same settings, model and dictionary is kept.
        like: Another tool's settings where ours differ by default; options given here go before.
    """
    from app.trace import graph_folders, read_prompts, trace_prompts

    prompts = read_prompts(prompt, file, token_ids)
    settings = config or TraceConfig()
    if out is not None and out.exists() and not out.is_dir():
        raise SettingError(f"--out is {out}, a file; expected a folder, new or there. Name another place.")
    single = out if file is None and len(prompts) == 1 else None
    folders = [single] if single else graph_folders(prompts, model, transcoders, settings, out or Path("graphs"))
    with progress_bar() as progress, log_on_stderr("tracer") if settings.verbose else nullcontext():
        failed = trace_prompts(
            prompts, folders, model, transcoders, settings, progress, say=say, resume=single is None, note=_note
        )  # fmt: skip
    if failed:
        raise PromptError(f"{failed} of {len(prompts)} prompts could not be traced; the reasons stand above.")


@cli.command
def check(
    model: str,
    *,
    transcoders: str | None = None,
    device: str = "auto",
    dtype: Dtype = "float32",
    format: Format = "table",
) -> None:
    """Look whether a model, and a feature dictionary for it, are what attribution needs, and say what was seen.

    Args:
        model: Folder of a Hugging Face model, or its name on the hub.
        transcoders: Folder of the model's transcoders, or their name on the hub.
        device: Where tensors live: auto (a GPU if there is one), cpu, cuda, cuda:1, mps.
        dtype: Number format of the computation.
        format: How rows are printed, one a check.
    """
    from tracer.check import check as check_model

    found = check_model(model, transcoders, device=device, dtype=dtype)
    print_rows(["passed", "name", "seen"], [asdict(each) for each in found], format)
    failed = [each for each in found if not each.passed]
    if failed:
        raise UnsupportedModelError(
            f"{model}: {len(failed)} of {len(found)} checks failed, the first that {failed[0].name} "
            f"({failed[0].seen}). Do not trust graphs of it before you know why; what was seen stands above."
        )


@cli.command
def show(graph: str, *, n: Annotated[int, Parameter(validator=Number(gte=1))] = 10, format: Format = "table") -> None:
    """Print the top of a graph: prompt, scores, outputs, features, direct effects on the first output, paths.

    Args:
        graph: A traced graph's folder, a graph file that `ingest` reads, or the graph_id of one in the library.
        n: How many of each to print.
        format: How they are printed.
    """
    from app.show import print_graph
    from ingest.library import default_library
    from ingest.load import find_graph

    print_graph(find_graph(graph, default_library()), n, format)


@cli.command
def export(
    graph: str,
    *,
    out: Path,
    format: ExportFormat | None = None,
    whole: bool = False,
    pins: str = "",
    groups: str = "",
) -> None:
    """Write a graph in the format of another tool; needs no database.

    Args:
        graph: A traced graph's folder, a graph file that `ingest` reads, or the graph_id of one in the library.
        out: The file to write, for csv, parquet and anthropic the folder; one that is there is replaced.
        format: json (circuit-tracer, Neuronpedia), anthropic (the folder that Anthropic's front end opens; other
            graphs in it stay), npz (arrays), graphml, csv (nodes and edges), parquet (a saved graph); by the ending of
            --out if not given.
        whole: All nodes and direct effects instead of the pruned graph; npz and parquet always have all.
        pins: Nodes to pin, as the address of the page Graph has them: node_id,node_id. Those that pruning dropped come
            along.
        groups: Groups in place of the graph's supernodes, as that address has them: name:node_id,node_id;name:node_id;
            `none` leaves none.
    """
    from ingest.library import default_library
    from ingest.load import find_graph
    from ingest.writers import WHOLE, write_graph

    chosen = format or format_of(out)
    found = find_graph(graph, default_library())
    if pins or groups:
        from app.exporting import marked_as_asked

        found = marked_as_asked(found, pins, groups, whole or chosen in WHOLE)
    write_graph(found, out, chosen, whole)
    say(f"{out}: {chosen} of graph {found.graph_id} ({found.metadata.slug})")
    marks = [name for name in ("pins", "supernodes") if found.metadata.provenance.get(name)]
    if marks and chosen not in HOLD_MARKS:
        notes.print(f"{chosen} has no place for {' and '.join(marks)}; {', '.join(HOLD_MARKS)} do.")


@cli.command
def ingest(*paths: Path, strict: bool = False, dry_run: bool = False, format: Format = "table") -> None:
    """Load graphs into the store: traced graphs, or files of circuit-tracer, Neuronpedia, CRM and Anthropic.

    Args:
        paths: Saved graphs, graph files (.json, .json.gz, .pt), zip archives of them, or folders of all these.
        strict: Refuse a file that would have to be repaired.
        dry_run: Read everything and say what would become of it; change nothing.
        format: How the report is printed, one row per file; json has a line for each.
    """
    from ingest.library import default_library
    from ingest.load import ingest_paths

    if not paths:
        raise PatternError("no path was given; expected graph folders or files. Name at least one.")
    columns = ["status", "graph_id", "slug", "nodes", "edges", "repairs", "reason", "path"]
    with progress_bar() as progress, nullcontext(None) if dry_run else _store(progress) as store:
        rows: list[dict[str, Any]] = []

        def told() -> Iterator[dict[str, Any]]:
            for result in ingest_paths(list(paths), store, default_library(), progress, strict):
                rows.append(asdict(result))
                yield rows[-1]

        try:
            if format == "json":
                print_json_lines(told())
            else:
                list(told())
        finally:  # what is done is told, whatever comes then
            if format != "json":
                print_rows(columns, rows, format)
    refused = sum(row["status"] == "refused" for row in rows)
    if refused:
        fail(f"{refused} of {len(rows)} files were refused; the reasons stand in the report.")
    if not rows:
        fail("no graph was found; expected graph folders or files (.json, .json.gz, .pt, .zip). Check the paths.")


@cli.command
def circuits(
    pattern: str,
    *,
    graphs: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    config: Annotated[SearchConfig | None, Parameter(name="*")] = None,
    matters: bool = False,
    set: str | None = None,
    needed: float = 0.0,
    align: Literal["feature", "label"] = "feature",
    roles: Path | None = None,
    limit: Annotated[int, Parameter(validator=Number(gte=1))] = LIMIT,
    format: Format = "table",
) -> int:
    """Find a circuit such as "Dallas -> Texas -> Austin" in all graphs, ranked by exact flow.

    Args:
        pattern: Waypoints in order. A word matches tokens, outputs and labels; * stands for anything; {city} is a role;
            Texas|Texan either; 20/15589 a feature; supernode:Texas its members; error@L3 an error node; @L10-20 layers,
            @pos:Dallas and @pos:-1 positions. -| inhibits; -{2,4}-> takes 2 to 4 links.
        graphs: Only in these graphs (graph_id or slug); all if not given.
        config: What counts, and what is shown.
        matters: Also say what each circuit hangs on: necessary nodes, bottlenecks, inhibitors, what pruning leaves.
        set: Table of prompts (.csv, .parquet, .json, .jsonl) to look in instead, each with its own roles in columns,
            TABLE[column=value] for some rows, or Cypher that answers with such rows (a .cypher file, or as it is); says
            in how many it is found, where it fails, and what chance gives.
        needed: With --set, flow from which on a prompt counts as having it; any at all if 0.
        align: With --set, label allows graphs of different dictionaries.
        roles: JSON file {role: [words]}; the demo's city, region and answer if not given.
        limit: Most graphs to show.
        format: How rows are printed. JSON rows carry graph_id, slug, prompt, flow and paths.
    """
    from app.circuits_report import failure_lines, print_circuits, what_matters
    from app.roles import read_roles
    from ingest.library import default_library
    from ingest.search import CircuitSearch, cypher_behind, graph_of, where_it_fails, why_nothing

    settings = config or SearchConfig()
    if set is not None:
        return across.circuits_in_set(pattern, set, settings.sign, needed, align, format)
    known_roles, library = read_roles(roles), default_library()
    with progress_bar() as progress, _store(progress) as store:
        search = CircuitSearch(pattern, store, library, graphs, known_roles, settings, limit)
        with suppress(KeyboardInterrupt):  # what was found until then is shown
            search.run(progress)
        found = search.found
        asked = found if matters else []
        told = [
            what_matters(pattern, known_roles, graph_of(each.graph_id, store, library), each, settings.sign)
            for each in asked
        ]
        why = "" if found or not search.complete else why_nothing(pattern, store, library, graphs, known_roles)
        if why:
            failing = failure_lines(where_it_fails(pattern, store, library, graphs, known_roles, settings))
            why = "\n".join([why, *failing])
    bound = {role: sorted({circuit.binding[role] for circuit in found}) for role in (found[0].binding if found else ())}
    text = cypher_behind(pattern, known_roles | bound, settings.sign, found[0].links) if found else ""
    print_circuits(found, text, format, told, why or search.said)
    if found and search.said:
        notes.print(search.said, soft_wrap=True)
    return 0 if search.complete else INTERRUPTED


@cli.command
def query(
    name: str = "",
    *,
    param: Annotated[list[str], Parameter(negative=())] = [],  # noqa: B006 - cyclopts wants a list
    format: Format = "table",
) -> None:
    """Run one of the shipped queries (cypher/explore) or of those kept on the page Cypher, or list them.

    Args:
        name: Name of the query; without one, all are listed with their parameters.
        param: A parameter as name=value; may be repeated.
        format: How rows are printed.
    """
    from ingest.library import default_library
    from ingest.own_queries import KIND, OwnQueries, find_query
    from ingest.queries import read_queries

    if not name:
        rows = [
            {
                "name": query.name,
                "purpose": query.purpose.partition("?")[0] + "?" if format == "table" else query.purpose,
                "params": query.signature(),
            }
            for query in (read_queries("explore") | OwnQueries(default_library()).all()).values()
        ]
        return print_rows(["name", "purpose", "params"], rows, format)
    asked = find_query(name, default_library())
    values = asked.bind(_pairs(param))  # refused before a server is started
    with progress_bar() as progress, _store(progress) as store:
        result = store.cypher(asked.text, values) if asked.kind == KIND else store.run(name, **values)
    print_rows(result.columns, result.records, format)


@cli.command
def cypher(
    text: Annotated[str, Parameter(allow_leading_hyphen=True)],
    *,
    param: Annotated[list[str], Parameter(negative=())] = [],  # noqa: B006
    plan: bool = False,
    max_rows: Annotated[int, Parameter(validator=Number(gte=1))] = 1000,
    timeout_s: Annotated[float, Parameter(validator=Number(gt=0, lte=86_400))] = 30,
    format: Format = "table",
) -> None:
    """Run your own Cypher, read-only.

    Args:
        text: The query, or - to read it from standard input.
        param: A parameter as name=value, the value read as JSON where it is JSON; may be repeated.
        plan: Print how the server would find the answer, and run nothing.
        max_rows: Most rows to return.
        timeout_s: Seconds after which the server ends the query.
        format: How rows are printed.
    """
    from app.params import Blank, value_of
    from app.planhtml import plan_rows

    if text == "-":
        text = sys.stdin.read()
    params = {name: value_of(Blank(name, "any"), value) for name, value in _pairs(param).items()}
    with progress_bar() as progress, _store(progress) as store:
        if plan:
            top = store.explain(text, params).top
            return print_rows(["operator", "rows", "details"], list(plan_rows(top)) if top else [], format)
        result = store.cypher(text, params, max_rows=max_rows, timeout_s=timeout_s)
    print_rows(result.columns, result.records, format)
    if result.truncated:
        notes.print(f"Only the first {max_rows} rows are shown; raise --max-rows for more.")


@cli.command(name="app")
def open_app(*, port: int = 8501, host: str = "127.0.0.1", expose: bool = False, browser: bool = True) -> int:
    """Open the dashboard and stay until Ctrl-C.

    Args:
        port: TCP port to listen on.
        host: Address to listen on; anything but loopback shows your graphs to the network and needs --expose.
        expose: Let in who has the password: THROUGHLINE_APP_PASSWORD, or the content of the file named by
            THROUGHLINE_APP_PASSWORD_FILE, or one that is made up and printed.
        browser: Open the page in a browser.
    """
    from app.serve import launch

    return launch(port=port, host=host, open_browser=browser, expose=expose, say=say)


@db.command
def start() -> None:
    """Start the local server, or say where it runs."""
    from ingest.server import LocalServer

    _note_other_server()
    with progress_bar() as progress:
        connection = LocalServer().ensure(progress)
    say(f"Neo4j runs at {connection.uri}, user {connection.user}.")


@db.command
def prepare() -> None:
    """Let Java keep what it loads, once: from then on the server starts in half the time or little more.

    Takes two minutes and 230 MB beside Neo4j's jars; to be done again after an update of Java or Neo4j.
    """
    from ingest.prepare import prepare

    _note_other_server()
    with progress_bar() as progress:
        kept = prepare(progress=progress)
    size_mb = sum(path.stat().st_size for path in kept) / 1e6
    say(f"Java has kept {size_mb:.0f} MB in {kept[0].parent}, for every start of Neo4j from now on.")


@db.command
def stop() -> None:
    """Stop the local server; the data stay."""
    from ingest.server import LocalServer

    say("Neo4j has stopped." if LocalServer().stop() else "Neo4j was not running.")


@db.command
def status(*, format: Format = "table") -> None:
    """Say whether the local server runs, where, since when, and what it holds.

    Args:
        format: How the row is printed.
    """
    from ingest.server import LocalServer

    _note_other_server()
    row = asdict(LocalServer().status())
    print_rows(list(row), [row], format)


@db.command
def reset(*, yes: bool = False) -> None:
    """Delete everything in the local server's database; the library of graph files stays.

    Args:
        yes: Do not ask.
    """
    from ingest.server import LocalServer

    if not yes and not keep_commands.confirmed("Delete all graphs from the local database?", "db reset"):
        return say("Nothing was deleted.")
    LocalServer().reset()
    say("The local database is empty. `throughline rebuild` fills it again from the library of graph files.")


def _note_other_server() -> None:
    """Say that it is not the local server that the other commands use, where that is so."""
    from ingest.bolt import connection_from_environment

    if other := connection_from_environment():
        _note(f"THROUGHLINE_NEO4J_URI names {other.uri}: all other commands use that server, not the local one.")


def _note(text: str) -> None:
    notes.print(text, markup=False, soft_wrap=True)


def _store(progress: Any) -> Any:
    from ingest.store import open_store

    return open_store(progress)


def _pairs(texts: list[str]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise PatternError(f"parameter {text!r} has no value; expected name=value, e.g. --param limit=5. Add it.")
        pairs[name.removeprefix("$")] = value
    return pairs


if __name__ == "__main__":
    main()
