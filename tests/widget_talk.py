"""Widgets without a browser: what they send is kept, and what a browser would send is handed to them."""


def listening(widget):
    """The widget, which from now on keeps in ``sent`` what it sends to the browser."""
    widget.sent = []
    widget.send = lambda content, buffers=(): widget.sent.append((content, buffers))
    return widget


def from_browser(widget, **content):
    """What the widget sends back for a message from the browser."""
    widget.sent.clear()
    widget._on_message(widget, content, [])
    return [content for content, _ in widget.sent]
