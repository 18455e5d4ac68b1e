"""Groups of commands that are imported when they are used: `zmesh --help` needs none of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from cli.groups import Group
from cli.places import Place

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


class _Commands(MutableMapping[str, click.Command]):
    """The commands of a group by name, imported one by one."""

    def __init__(self, places: Mapping[str, Place]) -> None:
        self._places = dict(places)
        self._loaded: dict[str, click.Command] = {}

    def __getitem__(self, name: str) -> click.Command:
        if name not in self._loaded:
            place = self._places[name]
            self._loaded[name] = getattr(import_module(place.module), place.attribute)
        return self._loaded[name]

    def __setitem__(self, name: str, command: click.Command) -> None:
        self._loaded[name] = command

    def __delitem__(self, name: str) -> None:
        self._places.pop(name, None)
        self._loaded.pop(name, None)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self._places, *self._loaded]))

    def __len__(self) -> int:
        return len(self._places.keys() | self._loaded.keys())

    def listed(self, name: str) -> click.Command:
        """What a list of commands needs of one, which is not imported for it."""
        return self._loaded.get(name) or click.Command(name, help=self._places[name].help)


class LazyGroup(Group):
    """A group with commands at `places`, beside those that are added as usual."""

    def __init__(self, *arguments: Any, places: Mapping[str, Place], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._lazy = _Commands(places)
        self.commands = self._lazy

    def format_help(self, ctx: Any, formatter: Any) -> None:
        with self._listing():
            super().format_help(ctx, formatter)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The commands that begin so, with their help."""
        with self._listing():
            return super().shell_complete(ctx, incomplete)

    @contextmanager
    def _listing(self) -> Iterator[None]:
        """Without an import of the commands: only their names and help are asked for."""
        self.commands = {name: self._lazy.listed(name) for name in self._lazy}
        try:
            yield
        finally:
            self.commands = self._lazy
