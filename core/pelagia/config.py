"""YAML on disk -> pydantic models: the only way in which a file that a person wrote becomes objects.

Invariant: unknown keys and duplicate keys are refused, and all faults of a file come in one ConfigError. Configs never
enter a class of the parts: builders flatten them into plain arguments.
"""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from pelagia.errors import ConfigError, InputError, did_you_mean


class Strict(BaseModel):
    """Base of every schema of ours: frozen, no unknown keys, defaults validated, and JSON that keeps NaN."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, ser_json_inf_nan="strings")


Schema = TypeVar("Schema", bound=BaseModel)


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


def load_config(path: Path, schema: type[Schema], overrides: Sequence[str] = (), *, within: str = "") -> Schema:
    """Reads a YAML file, applies ``a.b=c`` overrides (values are YAML), and validates.

    Args:
        within: a key; where the file has it, what stands under it is validated and the rest is passed over.

    Raises:
        InputError: the file cannot be read.
        ConfigError: any fault in it or in the overrides.
    """
    from pelagia.yaml_text import parse_yaml

    document = parse_yaml(read_text(path, "config file"), str(path))
    if document is None:
        document = {}
    if not isinstance(document, dict):
        raise ConfigError(str(path), [f"expected keys and values, found a {type(document).__name__}"])
    if within and isinstance(document.get(within), dict):
        document = document[within]
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
    import yaml

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
    from pelagia.yaml_text import parse_yaml

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
        annotation = getattr(_fields(current).get(step), "annotation", None)
        schemas = [kind for kind in (annotation, *get_args(annotation)) if _is_schema(kind)]
        if not schemas:
            return []
        current = schemas[0]
    return list(_fields(current))


def _fields(schema: Any) -> dict[str, Any]:
    return schema.model_fields if issubclass(schema, BaseModel) else schema.__dataclass_fields__  # type: ignore[no-any-return]


def _is_schema(kind: Any) -> bool:
    return isinstance(kind, type) and (issubclass(kind, BaseModel) or is_dataclass(kind))
