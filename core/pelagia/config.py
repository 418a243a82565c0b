"""Reads YAML files into pydantic models. Every file that a person wrote is read by this module.

Invariant: unknown keys and duplicate keys are refused, and one ConfigError reports all faults of a file.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError

from pelagia.errors import ConfigError, InputError, did_you_mean, newer_schema
from pelagia.system.paths import StrPath


class Strict(BaseModel):
    """Base of every schema of Pelagia: frozen, no unknown keys, defaults validated, and JSON that keeps NaN."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, ser_json_inf_nan="strings")


Schema = TypeVar("Schema", bound=BaseModel)


def read_text(path: Path, what: str) -> str:
    """The text of a UTF-8 file, without a byte-order mark.

    Args:
        what: the kind of file, for messages, such as ``config file``.

    Raises:
        InputError: the file is missing, a folder, unreadable, or not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"there is no {what} at {path}") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder, not a {what}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not a {what}: it is not UTF-8 text") from None
    except OSError as error:
        raise InputError(f"cannot read the {what} {path}: {error.strerror}") from None


def load_config(
    path: StrPath,
    schema: type[Schema],
    overrides: Sequence[str] = (),
    *,
    within: str = "",
    what: str = "config file",
) -> Schema:
    """Reads a YAML file, applies ``a.b=c`` overrides (values are YAML), and validates.

    Args:
        within: a key; if the file has it, only the value of that key is validated and the rest is ignored.
        what: what the file is, for messages.

    Raises:
        InputError: the file cannot be read.
        ConfigError: the file or an override is wrong; the message lists all faults.
    """
    from pelagia.system.yaml_text import parse_yaml

    document = parse_yaml(read_text(Path(path), what), str(path))
    if document is None:
        document = {}
    if not isinstance(document, dict):
        found = {"str": "plain text", "list": "a list"}.get(type(document).__name__, f"only {document}")
        raise ConfigError(str(path), [f"it is no {what}: expected keys and values, such as `name: ...`, found {found}"])
    if within and isinstance(document.get(within), dict):
        document = document[within]
    for override in overrides:
        _apply(document, override)
    return validate(document, schema, str(path))


def validate(document: Any, schema: type[Schema], where: str) -> Schema:
    """``document`` as an instance of ``schema``. Raises one ConfigError with every fault.

    If the document has a later ``schema_version`` than ``schema`` knows, that is the only fault.
    """
    if fault := made_by_newer(document, schema):
        raise ConfigError(where, [f"it {fault}"])
    try:
        return schema.model_validate(document)
    except ValidationError as error:
        faults = error.errors()
        raise ConfigError(
            where, [_sentence(fault, schema) for fault in faults if not _is_echo(fault, faults)]
        ) from None


def made_by_newer(document: Any, schema: type[BaseModel]) -> str:
    """`newer_schema` for a document with a ``schema_version``; empty if the schema knows it."""
    field = schema.model_fields.get("schema_version")
    if field is None or not isinstance(document, dict):
        return ""
    return newer_schema(document.get("schema_version", ""), get_args(field.annotation))


def altered(model: Schema, changes: Mapping[str, Any], where: str) -> Schema:
    """A copy of ``model`` with new values for dotted keys of its schema. Raises one ConfigError with every fault."""
    document = model.model_dump(mode="json")
    for key, value in changes.items():
        _put(document, key.split("."), value)
    return validate(document, type(model), where)


def overridden(model: Schema, overrides: Sequence[str], where: str) -> Schema:
    """A copy of ``model`` with ``a.b=c`` overrides, as `load_config` takes them. Raises one ConfigError as it does."""
    document = model.model_dump(mode="json")
    for override in overrides:
        _apply(document, override)
    return validate(document, type(model), where)


def kinds_of(schema: type[BaseModel], key: str) -> tuple[Any, ...]:
    """The types that a dotted key may hold, such as ``(int, NoneType)``; ``(Any,)`` for a dictionary with any keys.

    Raises:
        ConfigError: ``schema`` has no such key.
    """
    *before, last = key.split(".")
    holder = _schema_at(schema, before)
    if holder is not None and last in _fields(holder):
        return _kinds(holder, last)
    *before, above = before or [""]
    free = _schema_at(schema, before)
    if free is not None and any(get_origin(kind) is dict for kind in _kinds(free, above)):
        return (Any,)
    raise ConfigError(key, [f"unknown key '{key}'{did_you_mean(last, _fields(holder) if holder else ())}"])


def dump_yaml(model: BaseModel) -> str:
    """YAML that `load_config` reads back as an equal model."""
    import yaml

    return yaml.safe_dump(model.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)


def yaml_word(text: str) -> str:
    """A text as an item of a YAML list in brackets, quoted if YAML would read something else."""
    import yaml

    return yaml.safe_dump([text], default_flow_style=True, allow_unicode=True, width=10**6).strip()[1:-1]


def _apply(document: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    steps = key.strip().split(".")
    if not equals or not all(steps):
        raise ConfigError("--set", [f"'{override}' is not of the form key=value, such as train.epochs=5"])
    from pelagia.system.yaml_text import parse_yaml

    try:
        _put(document, steps, parse_yaml(value, f"--set {override}"))
    except KeyError as error:
        raise ConfigError("--set", [f"'{override}': '{error.args[0]}' holds a value, not further keys"]) from None


def _put(document: dict[str, Any], steps: Sequence[str], value: Any) -> None:
    """Sets a nested value. Raises KeyError with the step that holds a value instead of further keys."""
    node = document
    for step in steps[:-1]:
        node = node.setdefault(step, {})
        if not isinstance(node, dict):
            raise KeyError(step)
    node[steps[-1]] = value


def _is_echo(fault: Any, faults: Sequence[Any]) -> bool:
    """Whether a fault only repeats another one: pydantic calls a list too short if one of its items is wrong."""
    place = fault["loc"]
    return fault["type"] == "too_short" and any(
        other is not fault and other["loc"][: len(place)] == place for other in faults
    )


def _sentence(fault: Any, schema: type[BaseModel]) -> str:
    """One pydantic fault as a sentence: where, what is wrong, what was found."""
    location = [str(step) for step in fault["loc"]]
    place = ".".join(location)
    if fault["type"] == "extra_forbidden":
        return f"unknown key '{place}'{did_you_mean(location[-1], _known_keys(schema, location[:-1]))}"
    if fault["type"] == "missing":
        return f"the key '{place}' is missing"
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] != "value_error":
        message = f"{message[0].lower()}{message[1:]} (found {reprlib.repr(fault['input'])})"
    return f"{place}: {message}" if place else message


def _known_keys(schema: type[BaseModel], location: Sequence[str]) -> list[str]:
    found = _schema_at(schema, location)
    return [] if found is None else list(_fields(found))


def _schema_at(schema: type[Any], location: Sequence[str]) -> type[Any] | None:
    """The schema of the value of a key; None if the value has no schema."""
    current = schema
    for step in location:
        if step.isdigit():  # an index of a list
            continue
        kinds = _kinds(current, step)
        schemas = [kind for outer in kinds for kind in (outer, *get_args(outer)) if _is_schema(kind)]
        if not schemas:
            return None
        current = schemas[0]
    return current


def _kinds(schema: type[Any], name: str) -> tuple[Any, ...]:
    """The types that a field may hold; empty if there is no such field."""
    if name not in _fields(schema):
        return ()
    field = _fields(schema)[name]
    kind = getattr(field, "annotation", None) or get_type_hints(schema)[name]  # a dataclass has the annotation as text
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def _fields(schema: Any) -> dict[str, Any]:
    return schema.model_fields if issubclass(schema, BaseModel) else schema.__dataclass_fields__  # type: ignore[no-any-return]


def _is_schema(kind: Any) -> bool:
    return isinstance(kind, type) and (issubclass(kind, BaseModel) or is_dataclass(kind))
