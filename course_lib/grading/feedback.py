"""Feedback pages for students, and what nobody's text may do in them: nothing runs, nothing is fetched.

Students' text is cleaned where Markdown becomes HTML (``clean_markdown``), in feedback and in formgrader alike: formgrader's
pages belong to the instructor's server. A feedback page (``OfflineHTML``) is then stripped of nbgrader's own scripts, and
carries a rule for the browser that forbids the rest. Formulas stay as they were typed: MathJax would be a script.
"""

import html
import re
from collections.abc import Mapping
from typing import Any

import bleach
from bs4 import BeautifulSoup
from jinja2 import pass_context
from jinja2.runtime import Context
from nbconvert.exporters import HTMLExporter
from nbconvert.filters.markdown_mistune import InvalidNotebook, IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode

TAGS = frozenset(re.findall(r"\w+", """
    a abbr b blockquote br caption cite code dd del details div dl dt em figcaption figure h1 h2 h3 h4 h5 h6 hr i img kbd
    li ol p pre q s samp small span strong sub summary sup table tbody td tfoot th thead tr tt u ul
"""))  # fmt: skip
ATTRIBUTES = {"div": ["class"], "span": ["class"], "code": ["class"], "pre": ["class"], "th": ["align"], "td": ["align"]}
PICTURE = re.compile(r"data:image/(png|jpeg);base64,[A-Za-z0-9+/=\s]*")
LINK = re.compile(r"(https?://|mailto:|#)", re.IGNORECASE)
HIGHLIGHT = re.compile(r"highlight|[a-z][a-z0-9]?|")  # the classes of coloured code
RULE = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
LOOK = "table.table { width: auto } summary { display: list-item; cursor: pointer }"  # the hints can be opened
LONGEST = 20_000  # characters of a text; some take time that grows with the square of their length
FORBIDDEN = re.compile("^(script|noscript|template|link|meta|base|form|iframe|object|embed|svg|math|video|audio)$")
LOADING = {"src", "srcset", "data", "poster", "action", "formaction", "background", "style", "xlink:href"}


def _allowed(tag: str, name: str, value: str) -> bool:
    """Which attributes of which tags stay."""
    if tag == "img":
        return name == "alt" or (name == "src" and PICTURE.fullmatch(value) is not None)
    if tag == "a":
        return name == "title" or (name == "href" and LINK.match(value) is not None)
    if name == "class":
        return all(HIGHLIGHT.fullmatch(word) for word in value.split())
    return name in ATTRIBUTES.get(tag, ())


def clean(text: str) -> str:
    """HTML with text, tables, code and pasted pictures, and nothing that runs, loads or looks like the page around it."""
    return bleach.clean(text, tags=TAGS, attributes=_allowed, protocols=["http", "https", "mailto", "data"], strip=True)


class _Renderer(IPythonRenderer):
    """nbconvert's, without what a stranger could make slow or put HTML into: other languages' colours, and diagrams."""

    def block_code(self, code: str, info: str | None = None) -> str:
        return super().block_code(code, info if info in ("python", "py") else None)


@pass_context
def clean_markdown(context: Context, source: str) -> str:
    """nbconvert's Markdown filter, cleaned: the templates of formgrader and of feedback use it for every text.

    HTML in a text stays only where the text is the course's own; a learner's shows as it was typed.
    """
    cell = context.get("cell", {})
    about = cell.get("metadata", {})
    ours = about.get("released") or about.get("nbgrader", {}).get("locked")
    if len(source) > LONGEST and not ours:
        return f"<pre>{html.escape(source)}</pre>"
    try:
        page = clean(_render(source, cell.get("attachments", {}), not ours))
    except InvalidNotebook:  # a picture that was not handed in
        page = clean(_render(source.replace("attachment:", "missing:"), {}, not ours))
    return page.replace("<table>", '<table class="table table-bordered">')  # Bootstrap's, in both pages


def as_it_is(text: str) -> str:
    """In place of nbconvert's filter for old links, which takes minutes for a text of a hundred thousand brackets."""
    return text


def _render(source: str, pictures: Mapping[str, Any], escape: bool) -> str:
    return MarkdownWithMath(_Renderer(escape=escape, attachments=pictures, exclude_anchor_links=True)).render(source)


class OfflineHTML(HTMLExporter):
    """nbgrader's feedback page, without scripts, links to other files and event handlers, and forbidding them."""

    def from_notebook_node(self, nb: NotebookNode, resources: dict | None = None, **options: Any) -> tuple[str, dict]:
        """The page of one notebook."""
        page, resources = super().from_notebook_node(nb, resources, **options)
        return make_offline(page), resources


def make_offline(text: str) -> str:
    """A page that needs nothing but itself, and in which nothing can run."""
    page = BeautifulSoup(text, "html.parser")
    for tag in page.find_all(FORBIDDEN):
        tag.decompose()
    for tag in page.find_all(True):
        for name in list(tag.attrs):
            value = "".join(tag.attrs[name]) if isinstance(tag.attrs[name], list) else str(tag.attrs[name])
            bad_link = name == "href" and not LINK.match(value)
            if name.startswith("on") or bad_link or (name in LOADING and not PICTURE.fullmatch(value)):
                del tag.attrs[name]
    for link in page.select("#toc a[href^='#']"):  # nbgrader calls all of them "Test cell"
        link.string = link["href"].removeprefix("#").replace("comment-", "comment on ")
    for style in page.find_all("style"):
        style.string = re.sub(r"@import[^;]*;|@font-face\s*{[^}]*}|url\([^)]*\)", "", style.get_text())
    head = page.head or page
    own = page.new_tag("style")
    own.string = LOOK
    head.append(own)
    head.insert(0, page.new_tag("meta", attrs={"http-equiv": "Content-Security-Policy", "content": RULE}))
    head.insert(0, page.new_tag("meta", attrs={"charset": "utf-8"}))
    return str(page)
