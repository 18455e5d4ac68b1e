"""Where commands are defined: what a list of commands needs of them, without an import."""

from __future__ import annotations


class Place:
    """The module and attribute of a command, and the first sentence of its help."""

    __slots__ = ("attribute", "help", "module")

    def __init__(self, module: str, attribute: str, help: str) -> None:
        self.module = module
        self.attribute = attribute
        self.help = help
