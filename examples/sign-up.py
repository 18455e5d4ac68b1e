"""Creates a user, then calls another function, send-welcome, and uses its answer.

Payload: {"user_id": "abc123", "name": "Rahul", "email": "rahul@example.com"}
"""


def handler(payload, zmesh):
    if missing := {"user_id", "name", "email"} - payload.keys():
        return zmesh.response({"error": f"missing in the payload: {', '.join(sorted(missing))}"}, status=422)
    zmesh.db.query("""
        select pg_advisory_xact_lock(hashtext('users'));  -- "if not exists" alone can fail for two runs at once
        create table if not exists users (
            id text primary key, name text not null, email text not null, created_at timestamptz not null default now()
        )""")
    user = zmesh.db.query_one(
        "insert into users (id, name, email) values (%s, %s, %s) on conflict (id) do nothing returning *",
        [payload["user_id"], payload["name"], payload["email"]],
    )
    if user is None:
        return zmesh.response({"error": "this user id is taken"}, status=409)

    # zmesh.invoke waits for the answer. Should send-welcome fail, its error is raised here.
    welcome = zmesh.invoke("send-welcome", {"user_id": user["id"], "name": user["name"], "email": user["email"]})
    return {"user": user["id"], "created_at": user["created_at"], "message": welcome["message"]}
