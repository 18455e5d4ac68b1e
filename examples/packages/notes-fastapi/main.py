"""An HTTP API over the table notes. notes-hono is the same in TypeScript, over the same table."""

from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Request
from pydantic import BaseModel, Field

app = FastAPI(title="Notes")


class NewNote(BaseModel):
    text: Annotated[str, Field(min_length=1)]


class Note(NewNote):
    id: int


def database(request: Request):
    db = request.state.zmesh.db
    db.query(
        "create table if not exists notes (id bigint generated always as identity primary key, text text not null)"
    )
    return db


Database = Annotated[object, Depends(database)]


@app.get("/notes")
def list_notes(db: Database) -> list[Note]:
    return db.query("select id, text from notes order by id")


@app.post("/notes", status_code=201)
def add_note(note: NewNote, db: Database) -> Note:
    return db.query("insert into notes (text) values (%s) returning id, text", [note.text])[0]


@app.get("/notes/{id}")
def read_note(id: int, db: Database) -> Note:
    found = db.query("select id, text from notes where id = %s", [id])
    if not found:
        raise HTTPException(404, "no such note")
    return found[0]


@app.delete("/notes/{id}", status_code=204)
def delete_note(id: int, db: Database) -> None:
    if not db.query("delete from notes where id = %s returning id", [id]):
        raise HTTPException(404, "no such note")
