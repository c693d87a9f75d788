"""How Sphinx builds the manual: ``sphinx-build -W docs OUT``."""

from __future__ import annotations

import os
import re
from pathlib import Path

from sphinx.application import Sphinx

import vimnp

DOCS = Path(__file__).parent
ROOT = DOCS.parent

project = "vimnp"
author = "the developers of vimnp"
copyright = "the developers of vimnp"
version = release = vimnp.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["gallery/*.ipynb", "gallery/*.py", "gallery/*.json"]
nitpicky = False

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4

autodoc_typehints = "none"  # the docstrings give shapes and dtypes, which annotations do not
autodoc_member_order = "bysource"
templates_path = ["_templates"]
autosummary_generate = True
autosummary_imported_members = True
numpydoc_show_class_members = False
numpydoc_show_inherited_class_members = False

sphinx_gallery_conf = {
    "examples_dirs": str(ROOT / "examples" / "gallery"),
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",
    "download_all_examples": False,
    "show_memory": False,
    "write_computation_times": False,  # they would differ from run to run
    "min_reported_time": 1e9,
    "abort_on_example_error": True,
    "copyfile_regex": r"^$",
}

html_theme = "pydata_sphinx_theme"
html_title = f"vimnp {version}"
html_show_sourcelink = False
html_theme_options = {"show_prev_next": False, "navigation_with_keys": False}

ELSEWHERE = {"benchmarks": ROOT / "bench" / "README.md", "changelog": ROOT / "CHANGELOG.md"}
"""Pages whose text lies outside of this folder; here they have a file with their name alone."""

SOURCE_URL = os.environ.get("VIMNP_SOURCE_URL", "")
"""Where the files of the commit can be read: links into the sources lead there, if it is set."""


def _read_page(app: Sphinx, name: str, text: list[str]) -> None:
    path = ELSEWHERE.get(name, Path(app.env.doc2path(name)))
    if name in ELSEWHERE:
        text[0] = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        text[0] = re.sub(
            r"(?P<image>!?)\[(?P<words>[^\]]*)\]\((?P<target>[^)\s]+)\)",
            lambda link: _in_the_manual(link, path.parent),
            text[0],
        )


def _in_the_manual(link: re.Match[str], folder: Path) -> str:
    """A link of a page as it is in a clone, where sources lie beside the pages."""
    file, mark, anchor = link["target"].partition("#")
    if not file or "://" in file:
        return link[0]
    path = (folder / file).resolve()
    name = next((name for name, page in ELSEWHERE.items() if page == path), None)
    if name is not None:
        path = DOCS / f"{name}.md"
    if link["image"] or (path.parent == DOCS and path.suffix == ".md"):
        return f"{link['image']}[{link['words']}]({os.path.relpath(path, DOCS)}{mark}{anchor})"
    if SOURCE_URL:
        return f"[{link['words']}]({SOURCE_URL}/{path.relative_to(ROOT).as_posix()}{mark}{anchor})"
    return link["words"]


def setup(app: Sphinx) -> None:
    app.connect("source-read", _read_page)
