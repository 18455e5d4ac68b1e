# python -m unittest
import unittest
from types import SimpleNamespace

from functions.greeter import handler


class Greeter(unittest.TestCase):
    def test_it_greets_by_name(self):
        zmesh = SimpleNamespace(env=SimpleNamespace(GREETING="Welcome"))
        assert handler({"name": "Ada"}, zmesh) == {"message": "Welcome, Ada!"}
