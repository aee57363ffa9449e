"""A student's text can say anything: in feedback and in formgrader's pages it runs nothing and loads nothing."""

import json
import re
from html.parser import HTMLParser

import grading_attacks as attacks
import pytest

pytest.importorskip("nbgrader")

import nbformat
from film_day import film_course
from nbconvert.exporters import HTMLExporter, templateexporter
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from course_lib.classroom.checks import Check
from course_lib.grading import fan_out
from course_lib.grading.__main__ import main
from course_lib.grading.feedback import OfflineHTML, as_it_is, clean, make_offline
from course_lib.grading.notebooks import ROOT
from course_lib.grading.release import load_config
from course_lib.grading.sandbox import Sandbox, SandboxBroken
from course_lib.grading.verdicts import Verdict

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<img src='https://evil.example/x.png'>",
    "![x](https://evil.example/x.png)",
    "![x](javascript:alert(1))",
    "![x](data:image/svg+xml;base64,PHN2Zz4=)",
    "![x](attachment:not_there.png)",
    "[click](javascript:alert(1))",
    "[click](data:text/html,<script>alert(1)</script>)",
    "<a href=' java\tscript:alert(1)'>x</a>",
    "<svg onload=alert(1)><animate onbegin=alert(1) /></svg>",
    "<iframe src='https://evil.example'></iframe>",
    "<object data=x></object><embed src=x>",
    "<form action='https://evil.example'><input name=score value=10><button formaction=x>Save</button></form>",
    "<meta http-equiv=refresh content='0; url=https://evil.example'>",
    "<base href='https://evil.example/'>",
    "<link rel=stylesheet href='https://evil.example/x.css'>",
    "<style>@import 'https://evil.example/x.css'; body { display: none }</style>",
    "<div style='position:fixed;background:url(https://evil.example/x)' class='score panel'>5 / 5</div>",
    "<details open ontoggle=alert(1)>x</details>",
    "<video poster=https://evil.example/x src=x autoplay></video>",
    "<math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'></noscript>",
    "```mermaid\n<img src=x onerror=alert(1)>\n```",
    "$<img src=x onerror=alert(1)>$",
    "</textarea></div></body><script>alert(1)</script>",
    "<input id=film_check class=score value=100>",
    "".join(f"<b title={i}><p>" for i in range(1000)),
    "```mermaid\n" + "".join(f"<b title={i}><p>" for i in range(1000)),
    "[" * 100_000 + "<script>alert(1)</script>",
]
HARMLESS = """# My answer

It fades, **because** $a < b$ and `x < y`: see [the paper](https://arxiv.org/abs/1709.07871).

| run | rate |
|---|---|
| 1 | 0.5 |

```python
if a < b: print("<script>")
```

<details><summary>More</summary>text</details>

![my plot](attachment:plot.png)
"""


class Page(HTMLParser):
    """What a browser would do with a page."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.faults, self.text, self.styles = [], [], "", ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        own_style = tag == "style" and not any(name == "body" for name, _ in self.tags)
        if tag in {"script", "iframe", "object", "embed", "base", "form", "link", "video", "svg", "style"} and not own_style:
            self.faults.append(tag)
        for name, value in attrs:
            loads = name in ("src", "srcset", "data", "poster", "action", "formaction", "background", "style")
            link = name == "href" and not re.match(r"https?://|mailto:|#", value or "")
            if name.startswith("on") or link or (loads and not (value or "").startswith("data:image/png;base64,")):
                self.faults.append(f"{tag} {name}={value}")

    def handle_data(self, data):
        self.text += data
        self.styles += data if self.tags and self.tags[-1][0] == "style" else ""


def notebook(*texts, **metadata):
    cells = [new_markdown_cell(text, metadata=metadata) for text in texts]
    cells[0].attachments = {"plot.png": {"image/png": PNG}}
    shout = new_output("stream", name="stdout", text="<script>alert(1)</script>\x1b[31mred\x1b[0m")
    cells.append(new_code_cell("print('<script>alert(1)</script>')", outputs=[shout]))
    return new_notebook(cells=cells)


def rendered(made):
    """The body that nbgrader's templates would show: with the course's filter, and without nbconvert's own cleaning."""
    config = load_config(ROOT)
    config.HTMLExporter.template_name, config.HTMLExporter.sanitize_html = "basic", False
    return HTMLExporter(config=config).from_notebook_node(made)[0]


@pytest.mark.parametrize("released", [False, True], ids=["learner", "as released"])
@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_becomes_harmless_html(text, released):
    page = Page(rendered(notebook(text[:5000] if released else text, released=released)))
    assert not page.faults and "evil.example" not in " ".join(str(attributes) for _, attributes in page.tags)
    assert not {"input", "button", "meta", "math"} & {tag for tag, _ in page.tags}


def test_ordinary_text_tables_code_and_pasted_pictures_stay():
    html = rendered(notebook(HARMLESS))
    tags = {tag for tag, _ in Page(html).tags}
    assert {"h1", "strong", "table", "td", "code", "pre", "img", "a"} <= tags and "details" not in tags
    assert "&lt;details&gt;" in html  # a learner's HTML is shown as it was typed, the course's own works:
    assert {"details", "summary"} <= {tag for tag, _ in Page(rendered(notebook(HARMLESS, released=True))).tags}
    assert f"data:image/png;base64,{PNG}" in html and "https://arxiv.org/abs/1709.07871" in html
    assert "because" in html and "$a &lt; b$" in html and "&lt;script&gt;" in html


def test_cleaning_twice_changes_nothing():
    for text in (*HOSTILE, HARMLESS):
        assert clean(clean(text)) == clean(text)


def test_a_page_made_offline_loads_nothing_even_if_cleaning_had_been_forgotten():
    body = "<html><head><title>t</title></head><body>" + "".join(HOSTILE) + "</body></html>"
    page = Page(make_offline(body))
    assert set(page.faults) <= {"style"} and "evil.example" not in page.styles
    rules = [a["content"] for tag, a in page.tags if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy"]
    assert len(rules) == 1 and rules[0].startswith("default-src 'none'") and "script" not in rules[0]


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """One student's graded submission, full of hostile text, and a colleague's honest one."""
    try:
        Sandbox()
    except SandboxBroken as reason:
        pytest.skip(str(reason))
    root = tmp_path_factory.mktemp("course")
    exercise = film_course(root)
    for name, texts in (("mallory", HOSTILE), ("ann", [HARMLESS])):
        made = attacks.notebook_with(exercise, attacks.RIGHT + "# </pre><script>alert(1)</script>\n")
        attachments = {"plot.png": {"image/png": PNG}}
        made["cells"] += [
            {"cell_type": "markdown", "source": text, "metadata": {"tags": ["'><script>"]}, "attachments": attachments}
            for text in texts
        ]
        (root / "in" / name).mkdir(parents=True)
        (root / "in" / name / "exercises.ipynb").write_text(json.dumps(made))

    def decide(question, room, seed=None):
        check = Check("FiLM", "not yet", "At the start <script>alert(1)</script> FiLM fades.")
        return {f"film_{group}": Verdict(check, 7, 0.1) for group in question.groups}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fan_out, "decide", decide)
        assert main(["grade", "--root", str(root), "day92_rt1", str(root / "in")]) == 0
    assert main(["feedback", "--root", str(root), "day92_rt1"]) == 0
    return root


@pytest.mark.parametrize("student", ["ann", "mallory"])
def test_a_feedback_page_needs_nothing_but_itself(course, student):
    html = (course / "feedback" / student / "day92_rt1/exercises.html").read_text()
    page = Page(html)
    assert not page.faults and "url(" not in page.styles and "@import" not in page.styles
    assert "Score: 0.0 / 5.0" in page.text and "At the start <script>alert(1)</script> FiLM fades." in page.text
    assert "inputs drawn with seed 7" in page.text and "class FiLM" in page.text


def test_formgraders_page_carries_no_students_markup(course):
    """formgrader renders autograded notebooks with nbgrader's own template and this configuration."""
    for student in ("ann", "mallory"):
        graded = nbformat.read(course / "autograded" / student / "day92_rt1/exercises.ipynb", 4)
        assert not Page(rendered(graded)).faults
        assert {name for cell in graded.cells for name in cell.metadata} <= {"nbgrader", "released"}


def test_the_page_names_its_questions_and_its_tables_can_be_read(course):
    html = (course / "feedback/ann/day92_rt1/exercises.html").read_text()
    assert '<a href="#film_check">film_check</a>' in html and "Test cell" not in html
    assert '<table class="table table-bordered">' in html and "BEGIN HIDDEN TESTS" not in html
    assert "FILM.check(FiLM, hidden=True)" in re.sub("<[^>]*>", "", html)


def test_one_students_page_can_be_made_again(course):
    page = course / "feedback/ann/day92_rt1/exercises.html"
    other = course / "feedback/mallory/day92_rt1/exercises.html"
    page.unlink()
    before = other.stat().st_mtime_ns
    assert main(["feedback", "--root", str(course), "day92_rt1", "--student", "ann"]) == 0
    assert page.exists() and other.stat().st_mtime_ns == before


@pytest.mark.parametrize("command", ["feedback", "table"])
def test_an_assignment_that_does_not_exist_is_not_an_empty_class(course, command, capsys):
    assert main([command, "--root", str(course), "day99"]) == 1
    assert "No assignment 'day99'" in capsys.readouterr().err and not (course / "runs/grades_day99.csv").exists()


def test_a_very_long_text_does_not_meet_nbconverts_filter_that_compares_every_bracket_with_the_rest(monkeypatch):
    def minutes(text):
        raise AssertionError("for 100,000 brackets this would take minutes")

    monkeypatch.setitem(templateexporter.default_filters, "strip_files_prefix", minutes)
    text = "[" * 100_000
    assert text in rendered(notebook(text)) and as_it_is(text) == text


def test_the_page_is_nbgraders_own_exporter():
    assert issubclass(OfflineHTML, HTMLExporter)
