"""Pages of a list: how a request asks for one, and how a response names the place where the next one begins."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from litestar.params import QueryParameter
from pydantic import BaseModel

from api.http.json_bodies import has_nul
from api.http.problems import invalid

Item = TypeVar("Item")
Row = TypeVar("Row")
Key = TypeVar("Key")
LARGEST_PAGE = 100

Limit = Annotated[int, QueryParameter(ge=1, le=LARGEST_PAGE, description="Largest number of items in the page.")]
Cursor = Annotated[str | None, QueryParameter(max_length=500, description="next_cursor of the previous page.")]


class Page(BaseModel, Generic[Item]):
    """One page of a list; `next_cursor` is null on the last one."""

    items: list[Item]
    next_cursor: str | None

    @classmethod
    def of(
        cls, rows: Sequence[Row], limit: int, item_of: Callable[[Row], Item], key_of: Callable[[Row], Any]
    ) -> Page[Item]:
        """The page of rows that were read in their order, one more than `limit` if there are as many."""
        page = rows[:limit]
        next_cursor = make_cursor(key_of(page[-1])) if len(rows) > limit else None
        return cls.model_construct(items=[item_of(row) for row in page], next_cursor=next_cursor)


def make_cursor(key: Any) -> str:
    """The opaque name of a place in a list: after the row with this key."""
    return base64.urlsafe_b64encode(msgspec.json.encode(key)).decode().rstrip("=")


def read_cursor(cursor: str | None, kind: type[Key], start: Key) -> Key:
    """The key in a cursor, or `start` without one. Raises Problem 422."""
    if cursor is None:
        return start
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        key = msgspec.json.decode(text, type=kind)
    except (binascii.Error, msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        raise _invalid_cursor() from error
    if has_nul(key):
        raise _invalid_cursor()
    return key


def _invalid_cursor() -> Exception:
    return invalid("cursor", "is not a cursor of this list; send the next_cursor of a page unchanged")
