"""The record of figures, what is written of it, and what measures it.

pytest bench/test_record.py
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import float16_storage
import pytest
import record
import recorded
import render
import script_tables
import windows_times
from page_figures import FIGURES
from PIL import Image

MACHINE = ["machine: ARM Cortex-A76, 4 CPUs", "kernels: neon, 4 threads, native", "BLAS: none"]
FIGURE = {"date": "2026-11-26", "machine": MACHINE, "versions": {}, "rows": [{"a": 1}, {"a": 2}]}


@pytest.fixture
def results(tmp_path, monkeypatch):
    """An empty folder for records, in place of the one with figures."""
    monkeypatch.setattr(recorded, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(recorded, "QUOTED", ("new", "old"))
    return tmp_path / "results"


# ---- The record ----------------------------------------------------------------------------------


def test_a_machine_has_a_file_of_its_name(results):
    assert recorded.file_of(MACHINE) == results / "arm_cortex_a76_4_cpus_neon.json"


def test_a_section_leaves_the_others_as_they_are(results):
    path = results / "new.json"
    recorded.put(path, "b", FIGURE)
    recorded.put(path, "a", FIGURE | {"rows": []})
    recorded.put(path, "b", FIGURE | {"date": "2026-11-27"})
    found = recorded.read(path)
    assert found == {"a": FIGURE | {"rows": []}, "b": FIGURE | {"date": "2026-11-27"}}
    assert list(found) == ["a", "b"]


def test_every_row_has_a_line(results):
    recorded.put(results / "new.json", "a", FIGURE)
    lines = (results / "new.json").read_text().splitlines()
    assert '   {"a": 1},' in lines
    assert '   {"a": 2}' in lines


def test_of_each_section_the_first_machine_is_quoted(results):
    recorded.put(results / "old.json", "a", {"from": "old"})
    recorded.put(results / "old.json", "b", {"from": "old"})
    recorded.put(results / "new.json", "a", {"from": "new"})
    recorded.put(results / "another.json", "c", {})
    assert recorded.quoted() == {"a": {"from": "new"}, "b": {"from": "old"}}


# ---- The pages -----------------------------------------------------------------------------------


def test_every_figure_stands_on_a_page():
    marked = [
        name for page in render.pages() for name, _ in render.MARKED.findall(page.read_text())
    ]
    assert set(marked) == set(FIGURES)


def test_what_is_between_markers_is_replaced_and_nothing_else(monkeypatch):
    monkeypatch.setitem(FIGURES, "of_test", lambda record: record["text"])
    page = "before\n<!-- figures: of_test -->\nold\n<!-- end -->\nafter\n"
    once = render.filled(page, {"text": "| new |\n"}, "page")
    assert once == "before\n<!-- figures: of_test -->\n\n| new |\n\n<!-- end -->\nafter\n"
    assert render.filled(once, {"text": "| new |\n"}, "page") == once


def test_a_figure_in_a_sentence_stays_in_its_line(monkeypatch):
    monkeypatch.setitem(FIGURES, "of_test", lambda record: record["text"])
    page = "It takes <!-- figures: of_test -->1 s<!-- end -->, and\n"
    filled = render.filled(page, {"text": "2 s"}, "page")
    assert filled == "It takes <!-- figures: of_test -->2 s<!-- end -->, and\n"


def test_a_table_says_where_and_when_it_was_measured():
    line = recorded.origin(
        {
            "machine": [
                "machine: AMD EPYC, 2 CPUs",
                "kernels: avx2, 2 threads, native backend if not set otherwise",
                "BLAS: openblas 0.3, core Haswell, 2 threads; one thread in passes; numpy 2.4",
            ],
            "versions": {"vimnp": "0.1", "numpy": "2.4", "torch": "2.13"},
            "date": "2026-11-26",
        }
    )
    blas = "openblas 0.3, core Haswell, 2 threads"
    assert line == f"AMD EPYC, 2 CPUs; kernels avx2; {blas}; numpy 2.4; torch 2.13; 2026-11-26"


def test_without_a_blas_that_is_known_there_is_a_line_too():
    assert recorded.origin(FIGURE) == "ARM Cortex-A76, 4 CPUs; kernels neon; none; 2026-11-26"


OF_THE_RECORD = re.compile(
    r"(?<![\w.,])[\d.,]*\d( (and|to) [\d.,]*\d)? ?"
    r"(ms|us|microseconds|milliseconds|[GT]B/s|G(FLOP|MAC)/s|tokens a second|times as|x)\b(?! \d)"
)
"""How a page would write a time, a rate or a ratio."""


@pytest.mark.parametrize("page", render.pages(), ids=lambda page: page.name)
def test_no_time_stands_on_a_page_but_those_of_the_record(page):
    text = render.MARKED.sub("", page.read_text())
    text = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    assert [found[0] for found in OF_THE_RECORD.finditer(text)] == []


@pytest.mark.parametrize("text", ["0.11 ms", "takes 1.8 times as long", "0.75x", "28.5 GB/s"])
def test_a_time_is_recognised(text):
    assert OF_THE_RECORD.search(text)


def test_what_nobody_has_recorded_stays_as_it_is(capsys):
    page = "<!-- figures: int8 -->\n| by hand |\n<!-- end -->\n"
    assert render.filled(page, {}, "page.md") == page
    assert "page.md: int8 stays as it is" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("<!-- figures: nothing -->\n<!-- end -->", "page.md: figures 'nothing'; expected of"),
        ("<!-- figures: int8 -->\n", "without its <!-- end -->"),
        ("<!-- figures: two words -->\n<!-- end -->", "misspelt"),
        ("It takes\n<!-- figures: int8 -->1 s<!-- end -->\n", "would be no text, but HTML"),
        ("<!-- figures: int8 -->\n<!-- figures: vmamba -->\n<!-- end -->", "<!-- end -->"),
    ],
)
def test_markers_that_mean_nothing_are_refused(page, words):
    with pytest.raises(render.RenderError) as error:
        render.filled(page, {}, "page.md")
    assert words in str(error.value)


def test_check_names_what_differs_and_writes_nothing(tmp_path, monkeypatch, capsys):
    page = tmp_path / "page.md"
    page.write_text("<!-- figures: of_test -->\nold\n<!-- end -->\n")
    monkeypatch.setitem(FIGURES, "of_test", lambda record: "new")
    monkeypatch.setattr(render, "ROOT", tmp_path)
    monkeypatch.setattr(render, "COMPARISONS", ())
    monkeypatch.setattr(render, "DRAWINGS", tmp_path)
    monkeypatch.setattr(render, "_chart", lambda record: "<svg/>")
    monkeypatch.setattr(render, "pages", lambda: [page])
    assert render.main(["--check"]) == 1
    assert capsys.readouterr().out == "page.md: differs\nchart.svg: differs\n"
    assert "old" in page.read_text()
    assert render.main([]) == 0
    assert "new" in page.read_text()
    assert (tmp_path / "chart.svg").read_text() == "<svg/>"
    assert render.main(["--check"]) == 0


def test_a_plot_of_other_figures_is_drawn_anew(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="draws the plots")
    comparison = next(one for one in render.COMPARISONS if one.section == "vision_mamba")
    monkeypatch.setattr(render, "PEERS", tmp_path / "peers")
    comparison.folder.mkdir(parents=True)
    figures = recorded.quoted()
    stale = render.stale_plots(comparison, figures)
    assert [path.name for path in stale] == list(comparison.plots)
    render.draw(comparison, figures["vision_mamba"], stale)
    assert render.stale_plots(comparison, figures) == []
    with Image.open(stale[0]) as picture:
        assert picture.format == "PNG"
    figures["vision_mamba"]["latency"][0]["median"] *= 2
    assert render.stale_plots(comparison, figures) == stale


def test_tables_of_scripts():
    rows = [
        {"surroundings": where, "way": "native", "median": seconds, "passes": 9}
        for where, seconds in (("alone", 0.02), ("one busy neighbour", 0.05))
    ]
    assert script_tables.neighbours({"passes": rows}) == (
        "| a pass, over one alone | native |\n|---|---|\n| one busy neighbour | 2.50x |\n"
    )
    rows = [{"backend": "numpy", "off": 0.998, "on": 1.0228}]
    assert "| numpy | 0.998 | 1.023 |" in script_tables.profiling({"over_off": rows})
    row = {"network": "small", "suffix": ".pth", "file_size": 103.4e6, "peak_memory": 41.2e6}
    table = script_tables.convert_memory({"converted": [row]})
    assert "| small | .pth | 103 MB | 41 MB | 0.40 |" in table
    row = {"float32": 28.7e6, "float16": 14.4e6, "largest_logit": 2.171, "change": 0.00294}
    row |= {"network": "tiny, random", "same_class": 1.0}
    table = script_tables.float16_storage({"networks": [row]})
    assert "| tiny, random | 28.7 | 14.4 | 2.17 | 2.9e-03 | 100% |" in table


def test_a_table_of_bounds():
    rows = [
        script_tables.Bound("scan", 467.4e-6, "us", 275e-6),
        script_tables.Bound("memory", 71.2e6, "MB", 80e6),
        script_tables.Bound("any threads", 1.0, "x", 1.1, "4 threads"),
        script_tables.Bound("share", 0.067, "%", 0.15),
        script_tables.Bound("time", 0.223, "ms"),
        script_tables.Bound("avx512", None, "us", 275e-6),
    ]
    table = script_tables.bounds({"bounds": [row._asdict() for row in rows]})
    assert table.splitlines()[2:] == [
        "| scan | 275 us | **467 us** |",
        "| memory | 80 MB | 71 MB |",
        "| any threads | 1.10x | 1.00x (4 threads) |",
        "| share | 15.0 % | 6.7 % |",
        "| time | - | 223 ms |",
        "| avx512 | 275 us | not on this machine |",
    ]


def test_a_step_is_compared_with_the_one_before_if_it_is_to_be():
    parts = {"products": 0.01, "scan": 0.002}
    rows = [
        {"what": what, "whole": whole, "parts": parts, "is_compared": what == "compiled"}
        for what, whole in (("plain", 0.2), ("compiled", 0.05), ("for comparison", 0.06))
    ]
    lines = script_tables.steps_of_speed({"steps": rows}).splitlines()
    assert lines[2] == "| plain | 100.0 | 5.0 | 0.0 | 1.0 | 0.0 | 0.0 |  |"
    assert lines[3] == "| compiled | 25.0 | 5.0 | 0.0 | 1.0 | 0.0 | 0.0 | 0.25x |"
    assert lines[4].endswith("| 0.0 |  |")


def test_operations_have_shares_of_their_own_pass():
    figures = {
        "operations": {"numpy": {"scan": 0.03, "head": 0.01}, "native": {"wait": 1, "scan": 3}},
        "peak": 50e9,
        "of_peak": {"head": 0.5},
    }
    assert script_tables.operations_of_a_pass(figures).splitlines() == [
        "| operation | numpy | native | of 100 GFLOP/s, native, 1 thread |",
        "|---|---|---|---|",
        "| scan | 75.0% | 75.0% |  |",
        "| head | 25.0% |  | 50% |",
        "| wait |  | 25.0% |  |",
    ]


def test_a_layer_has_a_row_for_each_operation_and_instruction_set():
    rows = [
        {"operation": "scan", "isa": isa, "tokens": 197, "threads": threads, "median": seconds}
        for isa, threads, seconds in (("avx2", 1, 4e-4), ("avx2", 2, 2e-4), ("numpy", 1, 8e-3))
    ]
    assert script_tables.layer({"times": rows}).splitlines() == [
        "|  | 197 tokens, 1 thread | 197 tokens, 2 threads |",
        "|---|---|---|",
        "| scan, `avx2` | 400 us | 200 us |",
        "| scan, `numpy` | 8.00 ms |  |",
    ]


def test_tables_of_threads():
    row = {"operation": "scan", "isa": "avx2", "tokens": 8, "ratio": 1.2}
    passes = [{"split": ["scan", "norm"], "ratio": 1.05}]
    lines = script_tables.thresholds(
        {"over_one": [row, row | {"tokens": 16, "ratio": 0.8}], "passes": passes}
    ).splitlines()
    assert lines[2] == "| `scan`, `avx2` | 8: 1.20, 16: 0.80 |"
    assert lines[3].endswith("`scan` and `norm`, over one that splits the scan | 1.05 |")
    row = {"core": "Haswell", "threads": 2, "different": 977, "logits": 1000, "distance": 2.04e-6}
    tables = [
        script_tables.blas_threads({"cores": [row | {"runs_agree": agree}]})
        for agree in (True, False)
    ]
    assert "| Haswell | 2 | 977 of 1,000 | 2.0e-06 |" in tables[0]
    assert "| 2 (runs DIFFER) |" in tables[1]


def test_a_table_of_functions():
    row = {"function": "exp", "isa": "avx2", "errors": [2.41, 4.0, 20.3], "absolute": 7.4e-37}
    row |= {"infinite_from": None, "keeps_nan": True, "has_limits": False}
    table = script_tables.vector_accuracy({"functions": [row]})
    assert "| exp, `avx2` | 2.4 | 4.0 | 20.3 | 7e-37 | - | yes NO |" in table


def test_a_table_of_two_compilers():
    logits = [{"isa": "avx2", "difference": number} for number in (1e-7, 3e-6)]
    table = script_tables.compilers({"logits": logits, "times": [{"threads": 2, "ratio": 1.0634}]})
    assert "over the largest logit | 3.0e-06 |" in table
    assert "2 threads, of the first | 1.063x |" in table


def test_of_windows_and_linux_the_best_rounds_are_compared(tmp_path):
    rounds = {"linux-1": 0.03, "linux-2": 0.02, "windows-1": 0.021, "windows-2": 0.04}
    for name, seconds in rounds.items():
        found = {"results": [{"threads": 2, "median": seconds}]}
        (tmp_path / f"{name}.json").write_text(json.dumps(found))
    figures = windows_times.measure(argparse.Namespace(folder=tmp_path))
    assert "| 2 | 1.05x |" in script_tables.windows(figures)


def test_without_figures_of_windows_it_is_said_what_is_missing(tmp_path):
    with pytest.raises(SystemExit, match=r"linux-1.json; expected the WINDOWS_OUT of a run"):
        windows_times.measure(argparse.Namespace(folder=tmp_path))


def test_tables_of_a_raspberry_pi():
    counts = [
        {"core": core, "board": "a board", "call": call, "instructions": number}
        for core in ("a72", "a76")
        for call, number in (("scan", 2e6), ("norm", 1e6), ("native", 9e8))
    ]
    figures = {"kernels": ["scan", "norm"], "layers": 24, "counts": counts}
    assert script_tables.arm_instructions(figures).splitlines() == [
        "| millions of instructions | a72 (a board) | a76 (a board) |",
        "|---|---|---|",
        "| scan of one layer | 2.00 | 2.00 |",
        "| norm of one layer | 1.00 | 1.00 |",
        "| all of them, 24 layers | 72 | 72 |",
        "| a pass, native | 900 | 900 |",
    ]
    keys = [
        {"board": board, "precision": precision}
        for board in ("Pi 4", "Pi 5")
        for precision in ("float32", "int8")
    ]
    parts = [key | {"part": "states", "cycles": 254.6, "seconds": 0.0385} for key in keys]
    sums = [key | {"sum": 0.1, "expected": 0.11} for key in keys]
    figures = {"parts": parts, "sums": sums}
    assert script_tables.raspberry_pi(figures, "int8").splitlines() == [
        "| int8 | Pi 4: cycles | ms | Pi 5: cycles | ms |",
        "|---|---|---|---|---|",
        "| states | 255 | 38.5 | 255 | 38.5 |",
        "| sum |  | 100.0 |  | 100.0 |",
        "| expected |  | 110.0 |  | 110.0 |",
    ]
    assert "expected" not in script_tables.raspberry_pi(figures, "float32")


def test_tables_of_a_server_and_a_cluster():
    rounds = [{"p50": 0.0558, "p99": 0.209, "rate": 313.4, "memory": 59.4e6}]
    table = script_tables.serve_load({"memory_before": 48.9e6, "load": rounds})
    assert "| before |  |  |  | 48.9 MB |" in table
    assert "| 1 | 56 ms | 209 ms | 313 | 59.4 MB |" in table
    deaths = {"pictures": 10_000, "workers": 2, "killed": 8, "alone": 6.24, "cluster": 9.81}
    table = script_tables.cluster_deaths(deaths)
    assert table.startswith("| 10,000 pictures | time |")
    assert "| 2 processes, 8 times one was killed | 9.8 s |" in table


def test_float16_storage_compares_two_dtypes(tmp_path):
    row = float16_storage.compare(float16_storage.random_files(tmp_path, "tiny"))
    assert row["float16"] == pytest.approx(row["float32"] / 2, rel=0.02)
    assert 0 < row["change"] < 0.01 * row["largest_logit"]


# ---- Measuring -----------------------------------------------------------------------------------


def test_a_section_that_is_not_asked_for_or_fails_keeps_what_it_had(
    tmp_path, results, monkeypatch, capsys
):
    (tmp_path / "works.py").write_text(
        "import json, pathlib, sys\n"
        f"figures = {FIGURE!r} | {{'option': sys.argv[1]}}\n"
        "pathlib.Path(sys.argv[sys.argv.index('--json') + 1]).write_text(json.dumps(figures))\n"
    )
    (tmp_path / "fails.py").write_text("raise SystemExit(3)")
    monkeypatch.setattr(record, "BENCH", tmp_path)
    scripts = {"one": ("works.py", "--1"), "two": ("fails.py",), "three": ("works.py", "--3")}
    monkeypatch.setattr(record, "SECTIONS", scripts)
    path = recorded.file_of(MACHINE)
    for name in scripts:
        recorded.put(path, name, {"old": True})
    assert record.main(["one", "two"]) == 1
    assert recorded.read(path) == {
        "one": FIGURE | {"option": "--1"},
        "two": {"old": True},
        "three": {"old": True},
    }
    output = capsys.readouterr()
    assert output.out.startswith("one: ")
    assert "into arm_cortex_a76_4_cpus_neon.json" in output.out
    assert "two: failed" in output.err
    assert record.main(["three"]) == 0


def test_what_stands_behind_the_dashes_is_for_the_script(monkeypatch, capsys):
    ran = []
    monkeypatch.setattr(record, "measure", lambda *command: ran.append(command) or True)
    assert record.main(["compilers", "--", "one.whl", "--rounds", "2"]) == 0
    assert ran == [("compilers", "compilers.py", "one.whl", "--rounds", "2")]
    with pytest.raises(SystemExit, match="2"):
        record.main(["limits", "layer", "--", "--rounds", "2"])
    assert "for one section" in capsys.readouterr().err


def test_what_few_machines_can_measure_is_asked_for_by_name(monkeypatch):
    ran = []
    monkeypatch.setattr(record, "measure", lambda name, *_: ran.append(name) or True)
    assert record.main([]) == 0
    assert [*ran, *record.BY_NAME] == list(record.SECTIONS)


def test_sections_that_nobody_has_are_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        record.main(["int8", "nothing"])
    assert "nothing; expected of" in capsys.readouterr().err


@pytest.mark.parametrize("section", record.SECTIONS)
def test_the_script_of_a_section_is_there(section):
    script = Path(record.__file__).parent / record.SECTIONS[section][0]
    assert script.is_file() or (script / "__main__.py").is_file()


def test_the_pages_have_sections_that_can_be_measured():
    for path in Path(recorded.__file__).parent.glob("results/*.json"):
        for section, figures in json.loads(path.read_text()).items():
            assert section in record.SECTIONS
            assert {"date", "machine", "versions"} <= figures.keys()
            assert path == recorded.file_of(figures["machine"])
