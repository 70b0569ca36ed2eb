"""Ways to show a report: each sees one frozen `Report` and nothing else, and is chosen by the command line alone.

Adding one: a file here with a class that satisfies `Renderer`, one line in `REGISTRY`, and a golden under
`tests/golden/reports/`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from heaptrail.model.report import Report

REGISTRY: dict[str, str] = {
    "arrow": "heaptrail.reports.tables:ArrowRenderer",
    "collapsed": "heaptrail.reports.collapsed:CollapsedRenderer",
    "csv": "heaptrail.reports.csvfile:CsvRenderer",
    "heaptrack": "heaptrail.reports.heaptrack:HeaptrackRenderer",
    "html": "heaptrail.reports.html:HtmlRenderer",
    "json": "heaptrail.reports.jsonfile:JsonRenderer",
    "junit": "heaptrail.reports.junit:JunitRenderer",
    "markdown": "heaptrail.reports.markdown:MarkdownRenderer",
    "parquet": "heaptrail.reports.tables:ParquetRenderer",
    "perfetto": "heaptrail.reports.perfetto:PerfettoRenderer",
    "pprof": "heaptrail.reports.pprof:PprofRenderer",
    "sarif": "heaptrail.reports.sarif:SarifRenderer",
    "speedscope": "heaptrail.reports.speedscope:SpeedscopeRenderer",
    "terminal": "heaptrail.reports.terminal:TerminalRenderer",
}


class Renderer(Protocol):
    """Turns a report into bytes of one format. The class docstring's first line is its help."""

    name: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]]

    def render(self, report: Report) -> bytes:
        """The whole file. Never raises on a valid report, and lets no string from the device out unescaped."""
        ...
