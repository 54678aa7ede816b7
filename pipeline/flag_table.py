"""The flags of a program: their names, types, texts and groups, from the dataclass that declares them."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import tyro

METAVARS = {str: "TEXT", int: "N", float: "NUMBER", Path: "PATH", bool: ""}


@dataclass(frozen=True)
class Flag:
    """One flag.

    name        without dashes, as in `style.size`
    kind        the type of its value, or of one of its values; None if a function of the flag parses the text
    metavar     what a value looks like: {a,b} for choices, else N, NUMBER, PATH, TEXT, or as in NAME,NAME
    choices     the values it takes; () for any
    switch      whether it takes no value: `--name` or `--no-name`
    many        whether it takes several values, separated by blanks
    positional  whether it is given without its name
    group       the dataclass that groups it: the name of the field that holds it, and its docstring; empty at the top
    """

    name: str
    kind: type[Any] | None
    metavar: str
    choices: tuple[str, ...]
    switch: bool
    many: bool
    positional: bool
    default: Any
    text: str
    group: tuple[str, str]

    @property
    def required(self) -> bool:
        """Whether it has no default."""
        return self.default is MISSING

    @property
    def label(self) -> str:
        """The flag and what it takes: `--epochs N`, `--mixup`, `RUN`."""
        if self.positional:
            return self.name.upper() + (" ..." if self.many else "")
        if self.switch:
            return f"--no-{self.name}" if self.default is True else f"--{self.name}"
        return f"--{self.name} {self.metavar}" + (" ..." if self.many else "")


def flags_of(kind: type[Any], prefix: str = "", group: tuple[str, str] = ("", "")) -> list[Flag]:
    """Every flag of a dataclass and of the groups nested in it, in the order of the fields."""
    hints, texts = get_type_hints(kind, include_extras=True), documentation(kind)
    found = []
    for field in fields(kind):
        hint, marks = unwrapped(hints[field.name])
        if isinstance(hint, type) and is_dataclass(hint):
            inside = "" if tyro.conf.OmitArgPrefixes in marks else f"{prefix}{field.name}."
            found += flags_of(hint, inside, (field.name, (hint.__doc__ or "").strip()))
        else:
            name = prefix + field.name.rstrip("_").replace("_", "-")
            found.append(flag_of(name, hint, marks, field=field, text=texts.get(field.name, ""), group=group))
    return found


def flag_of(
    name: str, hint: Any, marks: tuple[Any, ...], *, field: Field[Any], text: str, group: tuple[str, str]
) -> Flag:
    """The flag of one field. marks: what stands in `Annotated` beside its type."""
    optional = NoneType in get_args(hint)
    inner = [mark for one in alternatives(hint) for mark in unwrapped(one)[1]]
    parsed = [mark for mark in (*marks, *inner) if isinstance(mark, tyro.constructors.PrimitiveConstructorSpec)]
    many = get_origin(hint) is tuple and not parsed
    one = get_args(hint)[0] if many else hint
    values = ("True", "False") if optional and bool in get_args(hint) else tuple(choices_of(one))
    plain = None if parsed else str if values else alternatives(one)[0]
    return Flag(
        name=name,
        kind=plain,
        metavar="{" + ",".join(values) + "}" if values else parsed[0].metavar if plain is None else METAVARS[plain],
        choices=values,
        switch=hint is bool and not optional,
        many=many,
        positional=tyro.conf.Positional in marks,
        default=field.default,
        text=text,
        group=group,
    )


def unwrapped(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """A type without `Annotated`, and the marks that stood beside it."""
    if get_origin(hint) is Annotated:
        inner, *marks = get_args(hint)
        return inner, tuple(marks)
    return hint, ()


def alternatives(hint: Any) -> list[Any]:
    """The members of a union without None; a list of one for any other type."""
    members = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    return [one for one in members if one is not NoneType]


def choices_of(hint: Any) -> Iterator[str]:
    """The values of the Literals in a type, as text."""
    for one in alternatives(hint):
        if get_origin(one) is Literal:
            yield from map(str, get_args(one))


def documentation(kind: type[Any]) -> dict[str, str]:
    """The text below each field of a dataclass or pydantic model, also of inherited ones."""
    found: dict[str, str] = {}
    for owner in reversed(kind.__mro__):
        if "__annotations__" not in vars(owner):
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]
        assert isinstance(body, ast.ClassDef)
        for one, text in zip(body.body, body.body[1:], strict=False):
            if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name) and isinstance(text, ast.Expr):
                found[one.target.id] = str(ast.literal_eval(text.value))
    return found
