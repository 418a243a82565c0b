from __future__ import annotations

from pathlib import Path

import pytest

import pelagia_labeling
from pelagia_labeling.tasks.actions import act_on_tasks


def test_an_action_on_no_task_is_refused_because_the_server_would_take_all_tasks() -> None:
    with pytest.raises(ValueError, match="the list of tasks is empty"):
        act_on_tasks(None, 1, "delete_tasks", [], "removing tasks")  # type: ignore[arg-type]


def test_only_the_guarded_function_calls_actions_of_the_server() -> None:
    sources = Path(pelagia_labeling.__file__).parents[2].glob("*/pelagia_*/**/*.py")
    callers = [file.name for file in sources if "client.actions" in file.read_text(encoding="utf-8")]
    assert callers == ["actions.py"]
