"""The example with pandas, by `make examples`: its packages take some 20 s of CPU to install."""

from __future__ import annotations

import io
import json
import zipfile
from xml.etree import ElementTree

import pytest

from tests.platform import REPOSITORY, Platform

CELL = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}c"


@pytest.mark.timeout(600)
def test_sales_report_adds_up_months_and_regions_in_a_workbook(running_platform: Platform) -> None:
    platform = running_platform.in_project("examples")
    folder = REPOSITORY / "examples" / "packages" / "sales-report"
    said = platform.zmesh("functions", "deploy", str(folder), "--memory-mb", "512", "--project", "examples")
    assert {"openpyxl", "pandas"} <= {one["name"] for one in json.loads(said)[0]["packages"]}
    sales = [
        {"date": "2026-01-07", "region": "north", "cents": 1050},
        {"date": "2026-01-31", "region": "south", "cents": 200},
        {"date": "2026-02-01", "region": "north", "cents": 325},
    ]
    answer = platform.invoke("sales-report", {"sales": sales})
    assert answer.headers["content-disposition"] == 'attachment; filename="sales.xlsx"'
    with zipfile.ZipFile(io.BytesIO(answer.content)) as book:
        sheet = ElementTree.fromstring(book.read("xl/worksheets/sheet1.xml"))
    cells = {cell.attrib["r"]: "".join(cell.itertext()) for cell in sheet.iter(CELL)}
    rows = [[float(cells[f"{column}{row}"]) for column in "BCD"] for row in (2, 3, 4)]
    assert rows == [[10.5, 2.0, 12.5], [3.25, 0.0, 3.25], [13.75, 2.0, 15.75]]
    assert platform.invoke("sales-report", {"sales": []}).status_code == 422
