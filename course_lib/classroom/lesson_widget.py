"""What the small widgets of the lessons share: controls.js and controls.css, and a picture in words where no kernel runs."""

import hashlib
from pathlib import Path
from typing import Any

import anywidget
import traitlets
from IPython.display import HTML, display

HERE = Path(__file__).parent


def script(*names: str) -> str:
    """The browser side of a widget: ``controls.js`` and these as one script, so that nothing is left to fetch."""
    return _joined(("controls", *names), "js")


def style(*names: str) -> str:
    """``controls.css`` and these."""
    return _joined(("controls", *names), "css")


def _joined(names: tuple[str, ...], kind: str) -> str:
    return "".join((HERE / f"{name}.{kind}").read_text(encoding="utf-8") for name in names)


def still_class(text: str) -> str:
    """The CSS class of a still that says ``text``: the same still has the same bytes in every build."""
    return f"lesson-still-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


class LessonWidget(anywidget.AnyWidget):
    """A widget that lives in the browser alone once it is there, with a still for readers without a kernel.

    A subclass gives ``still_html(css_class)``: a <figure> of that class that says with a picture or a table, and in
    words, what the widget would show. The live widget's script hides it.
    """

    still = traitlets.Unicode().tag(sync=True)  # CSS class of the still

    def still_html(self, css_class: str) -> str:
        """The <figure>; its class must be ``css_class``."""
        raise NotImplementedError

    def _ipython_display_(self, **_: Any) -> None:
        self.still = still_class(self.still_html(""))
        display(HTML(self.still_html(self.still)))
        data, metadata = self._repr_mimebundle_()
        data["text/plain"] = "An interactive picture: run this notebook to use it."
        display(data, metadata=metadata, raw=True)
