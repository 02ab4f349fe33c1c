"""The page: one self-contained HTML file."""

from __future__ import annotations

import base64
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from importlib.resources import files

from nnunet_pyconv import __version__
from nnunet_pyconv.evaluation.comparison import Comparison
from nnunet_pyconv.evaluation.metrics import EMPTY_CASES
from nnunet_pyconv.evaluation.report.cases import CAPTION, CasePictures, layers
from nnunet_pyconv.evaluation.report.curves import Curves
from nnunet_pyconv.evaluation.report.tables import ReportTable

GENERATOR = 'name="generator" content="nnunet-pyconv'
"""What tells a page of ours, see the template."""

_LIBRARIES = ("nnunetv2", "torch", "monai", "scipy", "scikit-image", "numpy")


@dataclass(frozen=True)
class Section:
    """What the page says of one comparison.

    Attributes:
        comparison: The comparison.
        notes: Sentences before the tables.
        tables: Its tables.
        curves: Its figures 2 and 3.
        cases: The cases of its figure 4.
    """

    comparison: Comparison
    notes: Sequence[str]
    tables: Sequence[ReportTable]
    curves: Sequence[Curves]
    cases: Sequence[CasePictures]


def render_page(sections: Sequence[Section], command: str) -> str:
    """Render the page.

    Args:
        sections: One a comparison.
        command: The command line that made it.

    Returns:
        HTML that loads nothing from anywhere: its pictures, styles and scripts are in it.
    """
    from jinja2 import Environment

    here = files(__package__)
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["svg_uri"] = _svg_uri
    versions = {"nnunet-pyconv": __version__, **{name: version(name) for name in _LIBRARIES}}
    versions["Python"] = platform.python_version()
    return environment.from_string(here.joinpath("page.html.j2").read_text("utf-8")).render(
        titles=", ".join(dict.fromkeys(section.comparison.dataset.name.partition("_")[2] for section in sections)),
        sections=sections,
        layers=[[layers(case) for case in section.cases] for section in sections],
        figure_4_caption=CAPTION,
        empty_rule=EMPTY_CASES,
        command=command,
        date=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        versions=versions,
        style=here.joinpath("page.css").read_text("utf-8"),
        script=here.joinpath("page.js").read_text("utf-8"),
    )


def _svg_uri(svg: str) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
