# zmesh test
from functions.greeter import handler


def test_it_greets_by_name(zmesh):
    zmesh.env["GREETING"] = "Welcome"
    assert handler({"name": "Ada"}, zmesh) == {"message": "Welcome, Ada!"}
