"""An Excel workbook with the sales of each month and region. The payload has the rows: date, region, cents."""

import io

import pandas as pd

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


def handler(payload, zmesh):
    if not payload.get("sales"):
        return zmesh.response({"error": "sales is empty"}, status=422)
    sales = pd.DataFrame(payload["sales"])
    sales["month"] = pd.to_datetime(sales["date"]).dt.strftime("%Y-%m")
    report = sales.pivot_table(
        index="month", columns="region", values="cents", aggfunc="sum", fill_value=0, margins=True, margins_name="total"
    )
    book = io.BytesIO()
    with pd.ExcelWriter(book, engine="openpyxl") as writer:
        (report / 100).to_excel(writer, sheet_name="Sales")
        sheet = writer.sheets["Sales"]
        sheet.freeze_panes = "B2"
        for row in sheet.iter_rows(min_row=2, min_col=2):
            for cell in row:
                cell.number_format = "#,##0.00"
    headers = {"content-type": XLSX, "content-disposition": 'attachment; filename="sales.xlsx"'}
    return zmesh.response(book.getvalue(), headers=headers)
