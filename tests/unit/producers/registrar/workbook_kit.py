"""Spreadsheets written by hand, as the standards say, for what no library writes."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_STYLES = f"""<styleSheet xmlns="{MAIN}">
<numFmts count="4"><numFmt numFmtId="164" formatCode="00000000"/><numFmt numFmtId="165" formatCode='"E"0000'/>
<numFmt numFmtId="166" formatCode="#\\ ##0"/>
<numFmt numFmtId="167" formatCode="[$-40C]d\\ mmmm\\ yyyy;@"/></numFmts>
<cellStyleXfs><xf numFmtId="14"/></cellStyleXfs>
<cellXfs><xf numFmtId="0"/><xf numFmtId="14"/><xf numFmtId="164"/><xf numFmtId="165"/><xf numFmtId="166"/>
<xf numFmtId="167"/><xf numFmtId="22"/><xf numFmtId="9"/></cellXfs></styleSheet>"""
DATE, ZEROS, LETTER, BLANKS, LONG_DATE, TIME, PERCENT = range(1, 8)
"""Styles of cells."""


def xlsx(
    path: Path,
    sheets: Mapping[str, str],
    *,
    hidden: tuple[str, ...] = (),
    shared: str = "",
    since_1904: bool = False,
) -> Path:
    """A workbook. `sheets`: the rows' XML by name; `shared`: the shared strings' XML."""
    numbered = list(enumerate(sheets.items(), start=1))
    states = {name: "hidden" if name in hidden else "visible" for name in sheets}
    listed = "".join(
        f'<sheet name="{name}" sheetId="{n}" r:id="rId{n}" state="{states[name]}"/>'
        for n, (name, _) in numbered
    )
    related = "".join(
        f'<Relationship Id="rId{n}" Type="{RELATIONS}/worksheet" Target="worksheets/sheet{n}.xml"/>'
        for n, _ in numbered
    )
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr(
            "xl/workbook.xml",
            f'<workbook xmlns="{MAIN}" xmlns:r="{RELATIONS}"><workbookPr date1904="{int(since_1904)}"/>'
            f"<sheets>{listed}</sheets></workbook>",
        )
        archive.writestr(
            "xl/_rels/workbook.xml.rels",
            f'<Relationships>{related}<Relationship Id="s" Type="{RELATIONS}/styles" Target="styles.xml"/>'
            f'<Relationship Id="t" Type="{RELATIONS}/sharedStrings" Target="/xl/sharedStrings.xml"/>'
            "</Relationships>",
        )
        archive.writestr("xl/styles.xml", _STYLES)
        archive.writestr("xl/sharedStrings.xml", f'<sst xmlns="{MAIN}">{shared}</sst>')
        for n, (_, rows) in numbered:
            archive.writestr(
                f"xl/worksheets/sheet{n}.xml",
                f'<worksheet xmlns="{MAIN}"><sheetData>{rows}</sheetData></worksheet>',
            )
    return path


def row(*cells: str, number: int | None = None) -> str:
    """A row of texts, and of cells' XML."""
    made = (
        cell if cell.startswith("<") else f'<c t="inlineStr"><is><t>{cell}</t></is></c>' for cell in cells
    )
    place = "" if number is None else f' r="{number}"'
    return f"<row{place}>{''.join(made)}</row>"


def number(value: object, style: int = 0) -> str:
    """A cell that holds a number."""
    return f'<c s="{style}"><v>{value}</v></c>'


_NAMESPACES = " ".join(
    f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
    for name in ("office", "table", "text", "style")
)


def ods(path: Path, tables: str, styles: str = "", manifest: str = "<manifest/>") -> Path:
    """A document of LibreOffice's. `tables`: their XML."""
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr("META-INF/manifest.xml", manifest)
        archive.writestr(
            "content.xml",
            f"<office:document-content {_NAMESPACES}>"
            f"<office:automatic-styles>{styles}</office:automatic-styles>"
            f"<office:body><office:spreadsheet>{tables}</office:spreadsheet></office:body>"
            "</office:document-content>",
        )
    return path


def table(name: str, *rows: str, style: str = "") -> str:
    """A sheet of LibreOffice's."""
    return f'<table:table table:name="{name}" table:style-name="{style}">{"".join(rows)}</table:table>'


def table_row(*cells: str, times: int = 1) -> str:
    """A row of texts, and of cells' XML."""
    made = (
        cell
        if cell.startswith("<")
        else f'<table:table-cell office:value-type="string"><text:p>{cell}</text:p></table:table-cell>'
        for cell in cells
    )
    return f'<table:table-row table:number-rows-repeated="{times}">{"".join(made)}</table:table-row>'


def zipped(**members: bytes) -> bytes:
    """A zip archive; `__` in a name stands for a dot."""
    file = io.BytesIO()
    with ZipFile(file, "w", ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "."), content)
    return file.getvalue()
