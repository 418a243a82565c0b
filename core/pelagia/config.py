"""YAML on disk -> pydantic models: the only way in which a file that a person wrote becomes objects.

Invariant: unknown keys and duplicate keys are refused, and all faults of a file come in one ConfigError. Configs never
enter a class of the parts: builders flatten them into plain arguments.
"""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from pelagia.errors import ConfigError, InputError, did_you_mean


class Strict(BaseModel):
    """Base of every schema of ours: frozen, no unknown keys, defaults validated, and JSON that keeps NaN."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, ser_json_inf_nan="strings")


Schema = TypeVar("Schema", bound=BaseModel)


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice, which YAML itself lets pass."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = str(key_node.value)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key '{key}' stands twice", key_node.start_mark
                )
            seen.add(key)
        return node


def parse_yaml(text: str, where: str) -> Any:
    """Python value of a YAML text.

    Raises:
        ConfigError: not YAML, or a key stands twice; names line and column.
    """
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ConfigError(where, [f"{place}{problem}"]) from None
    except RecursionError:
        raise ConfigError(where, ["nested too deeply"]) from None
    except Exception as error:  # whatever Python raises at 2024-13-41, a number of 5000 digits, !!bool maybe
        raise ConfigError(where, [f"a value that YAML cannot read: {error}"]) from None


def read_text(path: Path, what: str) -> str:
    """Text of a UTF-8 file (a byte-order mark is dropped).

    Raises:
        InputError: missing, a folder, unreadable, or not UTF-8.
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


def load_config(path: Path, schema: type[Schema], overrides: Sequence[str] = ()) -> Schema:
    """Reads a YAML file, applies ``a.b=c`` overrides (values are YAML), and validates.

    Raises:
        InputError: the file cannot be read.
        ConfigError: any fault in it or in the overrides.
    """
    document = parse_yaml(read_text(path, "config file"), str(path))
    if document is None:
        document = {}
    if not isinstance(document, dict):
        raise ConfigError(str(path), [f"expected keys and values, found a {type(document).__name__}"])
    for override in overrides:
        _apply(document, override)
    return validate(document, schema, str(path))


def validate(document: Any, schema: type[Schema], where: str) -> Schema:
    """``document`` as a ``schema``; every fault in one ConfigError."""
    try:
        return schema.model_validate(document)
    except ValidationError as error:
        faults = error.errors()
        raise ConfigError(where, [_sentence(one, schema) for one in faults if not _is_echo(one, faults)]) from None


def dump_yaml(model: BaseModel) -> str:
    """YAML that `load_config` reads back as an equal model."""
    return yaml.safe_dump(model.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)


def _apply(document: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    steps = key.strip().split(".")
    if not equals or not all(steps):
        raise ConfigError("--set", [f"'{override}' is not of the form key=value, such as train.epochs=5"])
    node = document
    for step in steps[:-1]:
        node = node.setdefault(step, {})
        if not isinstance(node, dict):
            raise ConfigError("--set", [f"'{override}': '{step}' holds a value, not further keys"])
    node[steps[-1]] = parse_yaml(value, f"--set {override}")


def _is_echo(fault: Any, faults: Sequence[Any]) -> bool:
    """Whether pydantic calls a list too short only because an item in it is wrong, which it reports as well."""
    place = fault["loc"]
    return fault["type"] == "too_short" and any(
        other is not fault and other["loc"][: len(place)] == place for other in faults
    )


def _sentence(fault: Any, schema: type[BaseModel]) -> str:
    """One pydantic fault in words: place, what is wrong, what was found."""
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
    current: Any = schema
    for step in location:
        if step.isdigit():  # a place in a list
            continue
        annotation = getattr(current.model_fields.get(step), "annotation", None)
        schemas = [kind for kind in (annotation, *get_args(annotation)) if _is_schema(kind)]
        if not schemas:
            return []
        current = schemas[0]
    return list(current.model_fields)


def _is_schema(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
