"""Archives and compressed files: no name in them leads anywhere, a bomb is refused, a bad member stops no other."""

import gzip
import json
import zipfile

import pytest

from ingest.library import Library
from ingest.load import graph_places, ingest_paths, read_graph
from ingest.readers import read_graph_file
from ingest.sources import ALWAYS_FINE, Source, members
from tests.ingest.made_graphs import make_graph
from tests.ingest.test_load import PUBLISHED
from tracer.errors import GraphFormatError
from tracer.graph import FILES

GRAPH = json.dumps(PUBLISHED).encode()


def archive(path, files, packing=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", packing) as out:
        for name, content in files.items():
            out.writestr(name, content)
    return path


def test_every_graph_in_an_archive_is_taken_in_and_bad_ones_are_reported(tmp_path):
    files = {
        "a/one.json": GRAPH,
        "b/two.json.gz": gzip.compress(GRAPH.replace(b"2.0", b"4.0")),
        "b/broken.json": GRAPH[:50],
        "readme.txt": b"no graph",
        "__MACOSX/a/._one.json": b"\0",
    }
    path = archive(tmp_path / "all.zip", files)
    reports = list(ingest_paths([path], None, Library(tmp_path / "library")))
    assert [(report.path.removeprefix(f"{path}/"), report.status) for report in reports] == [
        ("a/one.json", "ingested"), ("b/broken.json", "refused"), ("b/two.json.gz", "ingested"),
    ]  # fmt: skip
    assert "broken.json: not JSON" in reports[1].reason
    assert len({report.graph_id for report in reports}) == 3


def test_names_in_an_archive_lead_nowhere(tmp_path):
    folder = tmp_path / "inside"
    folder.mkdir()
    path = archive(folder / "evil.zip", {"../../out.json": GRAPH, "/etc/absolute.json": GRAPH, "C:\\x.json": GRAPH})
    before = sorted(tmp_path.rglob("*"))
    for place in graph_places(path):
        assert read_graph(place).metadata.slug == "published"
    assert len(graph_places(path)) == 3 and sorted(tmp_path.rglob("*")) == before


def test_saved_graphs_in_an_archive_are_taken_in_with_the_files_beside_them(tmp_path):
    graph = make_graph(3)
    graph.save(str(tmp_path / "saved"))
    saved = {path.name: path.read_bytes() for path in (tmp_path / "saved").iterdir()}
    files = {"x/one.json": GRAPH, **{f"../../deep/saved/{name}": content for name, content in saved.items()}}
    path = archive(tmp_path / "all.zip", files)
    before = sorted(tmp_path.rglob("*"))
    reports = list(ingest_paths([path], None, Library(tmp_path / "library")))
    assert [report.status for report in reports] == ["ingested"] * 2
    assert reports[0].graph_id == graph.graph_id and sorted(tmp_path.rglob("*")) == before
    (alone,) = graph_places(archive(tmp_path / "alone.zip", saved))  # the folder itself was packed
    assert read_graph(alone).graph_id == graph.graph_id


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_saved_graph_in_an_archive_is_refused_by_its_name_in_the_archive(tmp_path, name):
    make_graph(3).save(str(tmp_path / "saved"))
    saved = {path.name: path.read_bytes() for path in (tmp_path / "saved").iterdir()}
    path = archive(tmp_path / "bad.zip", {f"a/{each}": content for each, content in (saved | {name: b"half"}).items()})
    (report,) = ingest_paths([path], None, Library(tmp_path / "library"))
    assert report.status == "refused" and f"{path}/a" in report.reason


def test_archives_within_an_archive_are_told_and_stop_no_other(tmp_path):
    inner = archive(tmp_path / "inner.zip", {"x.json": GRAPH}).read_bytes()
    path = archive(tmp_path / "outer.zip", {"a.json": GRAPH, "inner.zip": inner, "readme.txt": b"no graph"})
    good, nested = ingest_paths([path], None, Library(tmp_path / "library"))
    assert (good.status, nested.status) == ("ingested", "refused")
    assert f"{path}/inner.zip: an archive within an archive" in nested.reason and "Unpack the outer" in nested.reason


@pytest.mark.parametrize("files", [{}, {"readme.txt": b"no graph"}])
def test_an_archive_without_a_graph_is_refused_by_its_name(tmp_path, files):
    path = archive(tmp_path / "none.zip", files)
    (report,) = ingest_paths([tmp_path], None, Library(tmp_path / "library"))
    assert report.status == "refused"
    assert f"{path}: none of {len(files)} members is a graph; expected saved graphs or files" in report.reason


def test_two_members_of_one_name_are_refused_and_stop_no_other(tmp_path):
    path = archive(tmp_path / "twice.zip", {"a.json": GRAPH, "b.json": GRAPH})
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(path, "a") as out:
        out.writestr("a.json", GRAPH.replace(b"2.0", b"4.0"))
    twice, once = ingest_paths([path], None, Library(tmp_path / "library"))
    assert (twice.status, once.status) == ("refused", "ingested")
    assert "a.json: 2 members of the archive have this name; expected one" in twice.reason


def test_a_bomb_is_refused_before_it_is_in_memory(tmp_path):
    zeros = b" " * (ALWAYS_FINE + (8 << 20))
    packed = tmp_path / "bomb.json.gz"
    packed.write_bytes(gzip.compress(zeros))
    with pytest.raises(GraphFormatError, match=r"bomb.json.gz: \d+ bytes unpack to more than .*; expected at most 200"):
        read_graph_file(packed)
    path = archive(tmp_path / "bomb.zip", {"bomb.json": zeros})
    with pytest.raises(GraphFormatError, match="unpack to more than"):
        members(path)
    (report,) = ingest_paths([path], None, Library(tmp_path / "library"))
    assert report.status == "refused" and "unpack to more than" in report.reason


def test_a_gzip_bomb_inside_an_archive_is_refused(tmp_path):
    inner = gzip.compress(b" " * (ALWAYS_FINE + (8 << 20)))
    path = archive(tmp_path / "nested.zip", {"bomb.json.gz": inner})
    with pytest.raises(GraphFormatError, match=r"bomb.json.gz: \d+ bytes unpack to more than"):
        read_graph_file(Source(path, "bomb.json.gz"))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no more", b"[]"])
def test_a_broken_archive_is_refused_by_its_name_and_stops_no_other(tmp_path, content):
    (tmp_path / "bad.zip").write_bytes(content)
    (tmp_path / "good.json").write_bytes(GRAPH)
    bad, good = ingest_paths([tmp_path], None, Library(tmp_path / "library"))
    assert (bad.status, good.status) == ("refused", "ingested")
    assert "bad.zip: broken zip" in bad.reason and "expected an archive" in bad.reason


def test_a_damaged_or_locked_member_is_refused(tmp_path):
    path = archive(tmp_path / "one.zip", {"one.json": GRAPH}, zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    content[60] ^= 1
    path.write_bytes(content)
    with pytest.raises(GraphFormatError, match=r"one.json: cannot be read \(Bad CRC-32"):
        read_graph_file(Source(path, "one.json"))
    path = archive(tmp_path / "locked.zip", {"one.json": GRAPH})
    content = bytearray(path.read_bytes())
    content[6] |= 1  # "encrypted", in the member's head and in the list at the end
    content[content.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(GraphFormatError, match="encrypted"):
        read_graph_file(Source(path, "one.json"))
