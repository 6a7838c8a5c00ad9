"""The report of a run as it is written: complete, escaped, in one file, with pictures that show something."""

import base64
import csv
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.image import imread
from report.simulated_run import make_plan, simulate, write_run

from shapempi.errors import MissingInputError
from shapempi.report.document import Document, Listing, Paragraph, Picture, Section, Table
from shapempi.report.html_page import to_html
from shapempi.report.markdown import to_markdown
from shapempi.reporting import survey_view, write_report


class Page(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text += data


def n_colour(path):
    """Return the number of colours, as one sees them, that more than 20 pixels have."""
    pixels = (imread(path)[..., :3] * 15).round().astype(int).reshape(-1, 3)
    _, count = np.unique(pixels @ [256, 16, 1], return_counts=True)
    return int((count > 20).sum())


def report_of(folder, n_tile, n_rank, **options):
    plan = make_plan(n_tile)
    events = simulate(plan, n_rank, **options)
    write_run(folder, plan, events)
    return events, write_report(folder, "a survey", catalogue=[Paragraph("no catalogue yet")])


@pytest.mark.parametrize(("n_tile", "n_rank", "lose"), [(2, 4, ()), (20, 201, (17,))], ids=["3 ranks", "200 ranks"])
def test_a_report(tmp_path, n_tile, n_rank, lose):
    events, page = report_of(tmp_path, n_tile, n_rank, trouble=0.08, lose=lose, code=1)
    folder = tmp_path / "report"
    assert page == folder / "report.html"
    for name in ("ranks-1.png", "cost.png", "memory.png"):
        assert n_colour(folder / name) >= 4, name
    height = imread(folder / "ranks-1.png").shape[0]
    assert height < 2000  # of many ranks a choice is drawn
    markdown, parsed = (folder / "report.md").read_text(), Page(page.read_text())
    for text in (
        "The run",
        "Units and their time",
        "Failures",
        "Who pays for it",
        "Predicted and used time",
        "Ranks",
        "Waiting",
        "I/O-bound: units of kind tile wait 65% of their time.",
        "Memory",
        "Cost",
        "no catalogue yet",
        *(["64 of 200 ranks", "1 ranks were lost."] if lose else []),
    ):
        assert text in markdown
        assert text in parsed.text
    with (folder / "timeline.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["rank", "uid", "kind", "attempt", "state", "begin", "end"]
    attempts = {(e["uid"], str(e["attempt"]), e["state"]): e for e in events if e["event"] in ("unit", "retry")}
    assert len(rows) == len(attempts)
    for row in rows:
        attempt = attempts[row["uid"], row["attempt"], row["state"]]
        assert float(row["begin"]) == pytest.approx(attempt["begin"], abs=1e-3)
        assert float(row["end"]) == pytest.approx(attempt["begin"] + attempt["elapsed"], abs=2e-3)
    assert [float(row["begin"]) for row in rows] == sorted(float(row["begin"]) for row in rows)


def test_the_page_needs_nothing_else(tmp_path):
    _, page = report_of(tmp_path, 1, 3)
    parsed = Page(page.read_text())
    assert not {"script", "link", "iframe", "object", "a"} & set(parsed.tags)
    assert all(value.startswith("data:image/png;base64,") for name, value in parsed.attributes if name == "src")
    assert not [name for name, _ in parsed.attributes if name == "href" or name.startswith("on")]
    assert not re.search(r"url\(|@import|https?://", page.read_text())
    pictures = [value.partition(",")[2] for name, value in parsed.attributes if name == "src"]
    files = sorted((tmp_path / "report").glob("*.png"))
    assert sorted(base64.b64decode(text) for text in pictures) == sorted(file.read_bytes() for file in files)
    assert len(files) == 3


HOSTILE = '<script>alert("x")</script>|`*[a](http://b)$x_'


def test_hostile_names_stay_text(tmp_path):
    plan = make_plan(1)
    events = simulate(plan, 3)
    for event in events:
        event["job"] = HOSTILE
    for event in [event for event in events if event["event"] == "unit"][:3]:
        event |= {"host": HOSTILE, "state": "failed", "error": HOSTILE, "reason": HOSTILE, "failure": HOSTILE}
        event |= {"kind": HOSTILE, "uid": f"{HOSTILE}:{event['uid']}", "seconds": {HOSTILE: 1.0}}
    events.insert(2, {"event": "lost", "time": events[1]["time"], "job": HOSTILE, "rank": 1, "host": HOSTILE})
    events[-2]["kind"] = HOSTILE  # one that is done: it has a panel and a place in the legends
    write_run(tmp_path, plan, events)
    page = write_report(tmp_path, HOSTILE, catalogue=())
    text = page.read_text()
    parsed = Page(text)
    assert "script" not in parsed.tags
    assert "a" not in parsed.tags
    assert HOSTILE in parsed.text
    assert "<script" not in (tmp_path / "report" / "report.md").read_text()


def test_markdown_and_html_of_the_same_document(tmp_path):
    picture = tmp_path / "a.png"
    picture.write_bytes(b"not looked at")
    table = Table.of("<name|n", [("a|b\nc", 1), ("<d>", 22)])
    parts = (
        Paragraph("a < b"),
        Paragraph("look", warning=True),
        table,
        Listing(("x  *y*", "<z>")),
        Picture(picture, "p"),
    )
    document = Document("T & U", (Section("S", parts),))
    assert to_markdown(document) == (
        "# T &amp; U\n\n## S\n\na &lt; b\n\n**look**\n\n"
        "| name      |   n |\n| :-------- | --: |\n| a\\|b c    |   1 |\n| &lt;d&gt; |  22 |\n\n"
        "    x  *y*\n    <z>\n\n![a](a.png)\n\np\n"
    )
    page = Page(to_html(document))
    assert page.tags.count("tr") == 3
    assert [part in page.text for part in ("T & U", "a < b", "a|b\nc", "<d>", "x  *y*\n<z>")] == [True] * 5
    assert ("class", "warning") in page.attributes


def test_a_run_without_units_and_a_journal_that_is_torn(tmp_path):
    with pytest.raises(MissingInputError, match="not the folder of a run"):
        write_report(tmp_path, "nothing", catalogue=())
    plan = make_plan(1)
    for name, events, text in (
        ("empty", [], "The run has not started: its journal is empty."),
        ("started", simulate(plan, 3)[:1], "not ended are 12 ccd, 1 tile units"),
    ):
        write_run(tmp_path / name, plan, events)
        markdown = write_report(tmp_path / name, "s", catalogue=()).with_suffix(".md").read_text()
        assert text in markdown
        assert "No unit has ended." in markdown
        assert not list((tmp_path / name / "report").glob("*.png"))
    whole = simulate(plan, 3)
    write_run(tmp_path / "torn", plan, whole[:-4])
    with (tmp_path / "torn" / "journal.jsonl").open("a") as file:
        file.write(json.dumps(whole[-4])[:70])
    markdown = write_report(tmp_path / "torn", "s", catalogue=()).with_suffix(".md").read_text()
    assert "1 lines of the journal are not whole" in markdown
    assert "none: running or killed" in markdown


def test_a_report_is_replaced_as_a_whole(tmp_path):
    _, page = report_of(tmp_path, 1, 3)
    first = page.read_text()
    _, again = report_of(tmp_path, 1, 3, seed=2)
    assert page == again
    assert again.read_text() != first
    assert not [path for path in (tmp_path / "report").iterdir() if path.suffix not in (".md", ".html", ".png", ".csv")]


def test_several_jobs(tmp_path):
    plan = make_plan(1)
    events = []
    for number in range(1, 7):
        events += simulate(plan, 3, job=f"{number:04d}", n_block=1, seed=number)
    write_run(tmp_path, plan, events)
    markdown = write_report(tmp_path, "s", catalogue=()).with_suffix(".md").read_text()
    assert "Pictures of the last 4 jobs that did units" in markdown
    names = sorted(path.name for path in (tmp_path / "report").glob("ranks-*.png"))
    assert names == [f"ranks-{k}.png" for k in (3, 4, 5, 6)]
    assert all(f"| 000{k} " in markdown for k in range(1, 7))


def test_units_that_a_later_start_found(tmp_path):
    plan = make_plan(1)
    events = simulate(plan, 3)
    found = [e | {"job": "0002", "restored": True, "rank": -1, "seconds": {}} for e in events if e.get("kind") == "ccd"]
    write_run(tmp_path, plan, [*events, events[0] | {"job": "0002"}, *found, events[-1] | {"job": "0002"}])
    markdown = write_report(tmp_path, "s", catalogue=()).with_suffix(".md").read_text()
    assert re.search(r"\| ccd +\|   12 \|      0 \|       0 \|           0 \|       0 \| +12 \|", markdown)
    assert re.search(r"\| ccd +\| all steps +\| +12 \|", markdown)  # and were done once


def test_the_view_of_a_plan():
    view = survey_view(make_plan(3), "s")
    assert view.areas["tile:000.001"] == pytest.approx(1e8 * (0.186 / 3600) ** 2)
    assert len(view.tiles["tile:000.000"]) == 16
    assert len(view.ccds) == 36
    assert view.promised["tile:000.001"] > view.costs["tile:000.001"] > 0
