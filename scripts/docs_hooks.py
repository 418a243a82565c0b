"""Pages of the documentation that are made from the code, so that they cannot be out of date.

mkdocs.yml names this file as a hook. `GENERATED` lists the pages that exist in the site only. `WRITTEN` lists those
that are also in docs/, where people read them without the site; `python -m scripts.docs_hooks` writes them again.
"""

from __future__ import annotations

import ast
import inspect
import re
import typing
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from pydantic import BaseModel
from typer.testing import CliRunner

from pelagia.cli import COMMANDS, app
from pelagia_training.config import TrainConfig

REPOSITORY = Path(__file__).resolve().parents[1]
WIDTH = 100
LIMITS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Adds the generated pages to the site. MkDocs calls it."""
    for name, make in GENERATED.items():
        files.append(File.generated(config, name, content=make()))
    return files


# ---- the command line


def all_commands(table: dict[str, Any] = COMMANDS, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command of `pelagia` as words, such as ``("label", "push")``."""
    for name, entry in table.items():
        if isinstance(entry, dict):
            yield from all_commands(entry, (*path, name))
        elif name:
            yield (*path, name)


def help_text(command: tuple[str, ...]) -> str:
    """What ``pelagia COMMAND --help`` prints."""
    sizes = {"terminal_width": WIDTH, "max_content_width": WIDTH}
    shown = CliRunner().invoke(app, [*command, "--help"], prog_name="pelagia", **sizes)
    if shown.exit_code:
        raise RuntimeError(f"pelagia {' '.join(command)} --help: {shown.output}")
    return shown.output.strip()


def command_line() -> str:
    """The page of all commands, each with its help text."""
    parts = [
        "# Command line",
        "Each section is what `pelagia COMMAND --help` prints. See also the [exit codes](exit-codes.md).",
        f"```text\n{help_text(())}\n```",
        *(f"## pelagia {' '.join(words)}\n\n```text\n{help_text(words)}\n```" for words in all_commands()),
    ]
    return "\n\n".join(parts) + "\n"


# ---- the config


def configuration() -> str:
    """The page of all keys of a training config."""
    parts = [
        "# Config keys",
        "A config is a YAML file such as `configs/training/baseline.yaml`. A key of a section is written with a dot on "
        "the command line: `--set train.epochs=20`. Values are YAML: `null`, `true`, `[a, b]`. Unknown keys are "
        "refused, and all faults are listed at once. [Choose a recipe](../how-to/recipes.md) explains when to use "
        "which key. This page is made from the code: `python -m scripts.docs_hooks`.",
    ]
    for place, schema in schemas(TrainConfig):
        title = f"## {place}" if place else "## At the top level"
        paragraphs = inspect.cleandoc(schema.__doc__ or "").split("\n\n")
        summary = "\n\n".join(paragraphs[: 3 if is_dataclass(schema) else 1])
        table = ["| key | values | default | meaning |", "| --- | --- | --- | --- |"]
        prefix = f"{place}." if place else ""
        table += [row(f"{prefix}{name}", *about) for name, about in keys(schema).items()]
        parts.append(f"{title}\n\n{summary}\n\n" + "\n".join(table))
    return "\n\n".join(parts) + "\n"


def schemas(schema: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """A schema and those of its sections, each with its place in the file: ``("train.distil", DistilConfig)``."""
    yield place, schema
    for name, kind in annotations(schema).items():
        for part in section_of(kind):
            yield from schemas(part, f"{place}.{name}" if place else name)


def section_of(kind: Any) -> list[Any]:
    """The schema that a field of this type holds, or an empty list for a plain value."""
    parts = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    return [part for part in parts if isinstance(part, type) and (issubclass(part, BaseModel) or is_dataclass(part))]


def annotations(schema: Any) -> dict[str, Any]:
    """The name and the type, without its limits, of each field."""
    if issubclass(schema, BaseModel):
        return {name: field.annotation for name, field in schema.model_fields.items()}
    hints = typing.get_type_hints(schema)
    return {field.name: hints[field.name] for field in fields(schema)}


def keys(schema: Any) -> dict[str, tuple[str, str, str]]:
    """The plain keys of one section: name -> (values, default, meaning)."""
    plain = {name: kind for name, kind in annotations(schema).items() if not section_of(kind)}
    optional = {name for name, kind in annotations(schema).items() if section_of(kind) and type(None) in get_args(kind)}
    found = {}
    for name, kind in plain.items():
        limits, default, meaning = details(schema, name)
        values = f"{type_name(kind)}, {limits}" if limits else type_name(kind)
        found[name] = (values, default, meaning)
    for name in optional:
        found[name] = ("a section, or null", "null", details(schema, name)[2])
    return found


def details(schema: Any, name: str) -> tuple[str, str, str]:
    """The limits, the default and the description of a field."""
    if issubclass(schema, BaseModel):
        field = schema.model_fields[name]
        default = "required" if field.is_required() else literal(field.default)
        return limits_of(field.metadata), default, field.description or ""
    hint = typing.get_type_hints(schema, include_extras=True)[name]
    found = {field.name: field.default for field in fields(schema)}[name]
    limits = limits_of(get_args(hint)[1:]) if get_origin(hint) is typing.Annotated else ""
    return limits, "required" if found is MISSING else literal(found), attribute_docs(schema).get(name, "")


def attribute_docs(schema: type) -> dict[str, str]:
    """The text below each field of a dataclass, on one line, without its full stop."""
    body = ast.parse(inspect.cleandoc(inspect.getsource(schema))).body[0]
    found = {}
    for field, text in zip(body.body, body.body[1:], strict=False):  # type: ignore[attr-defined]
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            found[ast.unparse(field.target)] = " ".join(str(text.value.value).split()).removesuffix(".")
    return found


def limits_of(metadata: Any) -> str:
    """Limits in signs: ``>= 0, < 1``."""
    found = [(sign, getattr(item, name, None)) for item in metadata for name, sign in LIMITS.items()]
    return ", ".join(f"{sign} {value}" for sign, value in found if value is not None)


def type_name(kind: Any) -> str:
    """A type in words."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Literal:
        return ", ".join(f"`{part}`" for part in parts)
    if origin is typing.Annotated:
        return type_name(parts[0])
    if origin in (Union, UnionType):
        return " or ".join("null" if part is type(None) else type_name(part) for part in parts)
    if origin in (tuple, list):
        return f"list of {type_name(parts[0])}"
    if origin is dict:
        return "section with free keys"
    return {int: "whole number", float: "number", bool: "`true`, `false`", str: "text", Path: "path"}.get(
        kind, str(kind)
    )


def literal(value: Any) -> str:
    """A default value as it is written in YAML."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(str, value))}]"
    return str(value) if value != "" else "empty"


def row(name: str, values: str, default: str, meaning: str) -> str:
    """One row of a table."""
    return "| " + " | ".join((f"`{name}`", values, f"`{default}`", meaning.replace("|", "\\|"))) + " |"


# ---- pages of the repository's root


def root_page(name: str) -> Callable[[], str]:
    """A page from a Markdown file in the root, whose links are made to fit the site."""

    def make() -> str:
        text = (REPOSITORY / name).read_text(encoding="utf-8")
        return re.sub(r"\[([^\]]*)\]\(([^)#:\s]+)(#[^)]*)?\)", site_link, text)

    return make


def site_link(found: re.Match[str]) -> str:
    """A link as the site needs it. What is not on the site stays as text."""
    label, target, anchor = found[1], found[2], found[3] or ""
    if target.startswith("docs/"):
        return f"[{label}](../{target.removeprefix('docs/')}{anchor})"
    page = f"{target.removesuffix('.md').lower()}.md"
    return f"[{label}]({page}{anchor})" if f"project/{page}" in GENERATED else label


GENERATED: dict[str, Callable[[], str]] = {
    "reference/command-line.md": command_line,
    "project/architecture.md": root_page("ARCHITECTURE.md"),
    "project/contributing.md": root_page("CONTRIBUTING.md"),
    "project/changelog.md": root_page("CHANGELOG.md"),
}
"""Path in the site -> the function that makes its text."""

WRITTEN: dict[str, Callable[[], str]] = {"reference/configuration.md": configuration}
"""Path in docs/ -> the function that makes its text."""


if __name__ == "__main__":
    for name, make in WRITTEN.items():
        (REPOSITORY / "docs" / name).write_text(make(), encoding="utf-8")
