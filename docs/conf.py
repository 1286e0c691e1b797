"""Sphinx's settings for `make site`, and what Sphinx does not do by itself.

Why Sphinx, with MyST for Markdown and Furo's theme: stable, under BSD or MIT, and released regularly. Sphinx
refuses a broken link, anchor or picture and a page without navigation, and reads the repository's files where
they lie. Looked at on 2026-12-02: MkDocs has had no release since August 2024 and ProperDocs, its fork, none
since March; Material for MkDocs was maintained until November; its successor Zensical calls itself alpha, and
the words of its search are English only.

The navigation is written once, in the index that people read: `docs/README.md`.
"""

from __future__ import annotations

import os
import re
import tomllib
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.application import Sphinx

ROOT: Final = Path(__file__).resolve().parent.parent

project = "Sésame"
version = release = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]

extensions = ["myst_parser"]
root_doc = "README"
include_patterns = ["*.md", "docs/**", "ops/**", "examples/**", "sandbox/images/**"]  # their Markdown
exclude_patterns = [".*", "build"]
suppress_warnings = ["misc.highlighting_failure"]  # excerpts need not be whole programs
smartquotes = False  # a page shows what its file has
myst_heading_anchors = 6  # as forges name them
myst_enable_extensions = ["attrs_inline", "html_image"]

html_theme = "furo"
html_title = f"{project} {version}"
html_copy_source = html_show_copyright = html_show_sphinx = html_use_index = False
html_search_language = "both"  # see `setup`

INDEX: Final = "docs/README"
"""The index of the documentation: each section's links are a part of the navigation."""

DECISIONS: Final = "docs/adr/README"
"""The index of the decisions, which are below it in the navigation."""

FRENCH: Final = {
    "Back to top": "Haut de page",
    "Home": "Accueil",
    "Next": "Suivant",
    "On this page": "Sur cette page",
    "Previous": "Précédent",
    "Search": "Rechercher",
    "Skip to content": "Aller au contenu",
}
"""The theme's words on a French page; neither Sphinx nor Furo has them."""

POLICY: Final = (
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'self' file: data: 'unsafe-inline'\">"
)
"""The browser loads nothing from elsewhere; `file:` lets the site be read from a folder."""

VERSIONS: Final = (
    '<p class="caption" id="versions" data-version="{version}">'
    '<a href="{above}versions.html">Version {version}</a></p><script src="{above}versions.js" defer></script>'
)
"""Leads to the other versions; the script, which `scripts/site` writes beside them, names them."""

SEARCH: Final = r"""
window.splitQuery = (query) =>
  query.normalize("NFD").replace(/\p{M}/gu, "").split(/[^\p{L}\p{N}_]+/u).filter(Boolean);
const ownLanguage = (page) => /^docs\/fr\/|\.fr$/.test(page) === navigator.language.startsWith("fr");
Scorer.score = ([page, , , , score]) => score + (ownLanguage(page) ? 5 : 0);
"""
"""A search without accents, whose first results are in the reader's language."""


def is_french(page: str) -> bool:
    """Whether the page (a path without `.md`) is in French."""
    return page.startswith("docs/fr/") or page.endswith(".fr")


def navigation(root: Path = ROOT) -> dict[str, list[str]]:
    """The parts of the navigation, each with its pages: paths in the repository, without `.md`."""
    text = (root / f"{INDEX}.md").read_text(encoding="utf-8")
    sections = re.findall(r"^## (.+)\n((?:(?!## ).*\n)+)", text, re.MULTILINE)
    return {"": [INDEX]} | {heading: _linked(body, INDEX) for heading, body in sections}


def decisions(root: Path = ROOT) -> list[str]:
    """The decisions' pages, in the order of their index."""
    text = (root / f"{DECISIONS}.md").read_text(encoding="utf-8")
    return _linked(text.partition("\n## ")[0], DECISIONS)


def _linked(text: str, page: str) -> list[str]:
    return [os.path.normpath(Path(page).parent / found) for found in re.findall(r"\]\(([^):#]+)\.md\)", text)]


def read(_app: Sphinx, page: str, source: list[str]) -> None:
    """Add the navigation to the two indexes; make targets of anchors that are written as HTML."""
    source[0] = re.sub(r'<a id="([^"]+)"></a>', r"[]{#\1}", source[0])
    trees = {root_doc: navigation(), DECISIONS: {"": decisions()}}.get(page, {})
    for caption, pages in trees.items():
        named = f":caption: {caption}\n" if caption else ""
        below = "\n".join(f"/{each}" for each in pages)
        source[0] += f"\n\n```{{toctree}}\n:hidden:\n{named}\n{below}\n```\n"


def omit_empty_heads(_app: Sphinx, doctree: nodes.document) -> None:
    """Leave out a table's head that is empty: Markdown must have one, and it would be read out."""
    for head in [each for each in doctree.findall() if each.tagname == "thead"]:
        if not head.astext().strip():
            head.parent.remove(head)


def complete(_app: Sphinx, page: str, _template: str, context: dict[str, Any], _doctree: object) -> None:
    """Give a page its language, policy and version; mark links to the other language; fold the navigation."""
    french = is_french(page)
    context["language"] = "fr" if french else "en"
    if french:
        context["_"] = context["gettext"] = lambda text, **values: FRENCH.get(text, text) % values

    def marked(link: re.Match[str]) -> str:
        goal = os.path.normpath(Path(page).parent / link[1].removesuffix(".html"))
        other = link[1] != "#" and is_french(goal) != french
        return f'{link[0]} lang="{"en" if french else "fr"}"' if other else link[0]

    tree = re.sub(r'href="([^"]*)"', marked, context["furo_navigation_tree"])
    first, *parts = tree.split('<p class="caption"')
    versions = VERSIONS.format(above=f"{context['content_root']}../", version=version)
    context["furo_navigation_tree"] = versions + first + "".join(map(_folded, parts))
    context["metatags"] = context.get("metatags", "") + POLICY
    for wide in ("pre", 'div class="table-wrapper'):  # the keyboard scrolls what has a place in its order
        context["body"] = context.get("body", "").replace(f"<{wide}", f'<{wide[:3]} tabindex="0"{wide[3:]}')


def _folded(part: str) -> str:
    """A part of the navigation, folded unless the page is in it: the whole fits a screen."""
    caption, pages = re.findall(r'caption-text">(.*?)</span></p>(.*)', part, re.DOTALL)[0]
    language = re.search(r' lang="\w+"', pages)
    summary = f'<summary class="caption"{language[0] if language else ""}>{caption}</summary>'
    return f"<details{' open' if 'toctree-l1 current' in pages else ''}>{summary}{pages}</details>"


def without_accents(text: str) -> str:
    """The text as somebody types it who leaves accents out."""
    return "".join(each for each in unicodedata.normalize("NFD", text) if not unicodedata.combining(each))


def setup(app: Sphinx) -> None:
    """Register the hooks above, and one search for both languages."""
    from sphinx.search import languages
    from sphinx.search.en import SearchEnglish
    from sphinx.search.fr import SearchFrench

    class Both(SearchEnglish):
        """English stems, which serve French plurals too, without accents."""

        stopwords = frozenset(map(without_accents, SearchEnglish.stopwords | SearchFrench.stopwords))
        js_splitter_code = SEARCH

        def split(self, input: str) -> list[str]:  # noqa: A002 - Sphinx's name
            return list(super().split(without_accents(input)))

    languages["both"] = Both
    app.connect("source-read", read)
    app.connect("doctree-read", omit_empty_heads)
    app.connect("html-page-context", complete, priority=900)  # after the theme's own
