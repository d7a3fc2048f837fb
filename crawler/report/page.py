"""The frame of a page: one file that works without a network, in light and dark, on any screen.

All it needs is within: its style, its script, its figures, and plotly's own script, compressed
(plain it is 4.8 MB, so 2.0 MB) and inflated by the browser. The figures are those of the document
that ``--json`` writes, compressed as well. Its Content-Security-Policy lets no request out and runs
no script but these two, known by their hashes; so a name that got through the escaping runs
nothing.
"""

from __future__ import annotations

import gzip
import json
from base64 import b64encode
from hashlib import sha256
from importlib.resources import files
from typing import Final

from crawler.errors import UsageError
from crawler.report.markup import Markup, escaped, joined
from crawler.settings import VERSION

_HERE: Final = "crawler.report"


def page(title: str, body: list[Markup], document: object) -> str:
    """Give the whole page: ``body`` under ``title``, its charts drawn from ``document``.

    Raises ``UsageError`` where plotly is not installed.
    """
    style, script, plotly = _asset("page.css"), _asset("charts.js") + _asset("page.js"), _plotly()
    return "\n".join(
        (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_policy(script, plotly)}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f'<meta name="generator" content="crawl {VERSION}">',
            f"<title>{escaped(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>",
            joined(body),
            f'<script type="application/gzip" id="document">{_packed(_json(document))}</script>',
            f'<script type="application/gzip" id="plotly">{_packed(plotly)}</script>',
            f"<script>{script}</script>\n</body>\n</html>\n",
        )
    )


def _policy(*scripts: str) -> str:
    hashes = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _digest(script: str) -> str:
    return b64encode(sha256(script.encode()).digest()).decode()


def _packed(text: str) -> str:
    return b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def _json(document: object) -> str:
    return json.dumps(document, separators=(",", ":"), allow_nan=False)


def _asset(name: str) -> str:
    return files(_HERE).joinpath(name).read_text(encoding="utf-8")


def _plotly() -> str:
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        raise UsageError(
            "--html needs plotly, which is not installed: pip install 'crawl-bench[report]'"
        ) from None
    return str(get_plotlyjs())
