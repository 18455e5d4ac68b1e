"""Table changes as HTTP shows them."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api.http.models import FunctionReference, Model, Text
from sql.changes import TableChange

Event = Literal["INSERT", "UPDATE", "DELETE"]
EVENTS: list[Event] = ["INSERT", "UPDATE", "DELETE"]
Table = Annotated[
    Text,
    Field(min_length=1, max_length=200, description="Table, as in SQL: orders, or shop.orders."),
]


class ChangeToPassOn(Model):
    """What to pass on of a table."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "table": "orders",
                    "function_id": "send-receipt",
                    "events": ["INSERT", "UPDATE"],
                    "when": "new.total > 100",
                    "columns": ["total"],
                }
            ]
        }
    )

    table: Table
    function_id: FunctionReference
    events: list[Event] = Field(default=EVENTS, min_length=1, max_length=3)
    when: Annotated[Text, Field(min_length=1, max_length=10_000)] | None = Field(
        default=None, description="An SQL condition over `new` and `old`; it has the rights of the table's owner."
    )
    columns: list[Annotated[Text, Field(min_length=1, max_length=63)]] | None = Field(
        default=None, min_length=1, max_length=100, description="Only updates that change one of these."
    )


class ChangeDetails(BaseModel):
    """What is passed on of a table, to a function."""

    table: str
    function_id: UUID | None = Field(description="null: the function was deleted.")
    function: str = Field(description="Slug of the function.")
    events: list[Event]
    when: str | None
    columns: list[str] | None

    @classmethod
    def of(cls, change: TableChange, function_id: UUID | None) -> ChangeDetails:
        values = {name: getattr(change, name) for name in ("table", "function", "events", "when", "columns")}
        return cls.model_construct(**values, function_id=function_id)
