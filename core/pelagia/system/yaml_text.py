"""Reads YAML strictly. `pelagia.config` imports this module only when a file is read: `classify` needs no YAML."""

from __future__ import annotations

from typing import Any

import yaml

from pelagia.errors import ConfigError


class _Loader(yaml.SafeLoader):
    """A SafeLoader that refuses a key that appears twice, which PyYAML accepts."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = str(key_node.value)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key '{key}' appears twice", key_node.start_mark
                )
            seen.add(key)
        return node


def parse_yaml(text: str, where: str) -> Any:
    """The Python value of a YAML text.

    Args:
        where: the file or the option that the text comes from, for messages.

    Raises:
        ConfigError: the text is not YAML, or a key appears twice; the message has line and column.
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
    except Exception as error:  # Python's errors for values such as 2024-13-41 or a number of 5000 digits
        raise ConfigError(where, [f"a value that YAML cannot read: {error}"]) from None
