"""Label Studio's actions on many tasks at once, such as deleting them. Only this module calls them.

Invariant: an action gets at least one task. To Label Studio an empty list of tasks means all tasks of the project.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from pelagia_labeling.studio.connection import WRITE_OPTIONS, Connection

Action = Literal["delete_tasks", "delete_tasks_annotations", "delete_tasks_predictions", "predictions_to_annotations"]


def act_on_tasks(connection: Connection, project_id: int, action: Action, tasks: Collection[int], what: str) -> None:
    """Runs an action of Label Studio on some tasks of a project.

    Args:
        connection: the connection to the server.
        project_id: number of the project.
        action: Label Studio's name of the action.
        tasks: numbers of the tasks; at least one.
        what: what the action does, such as "removing 3 tasks", for the message of an error.

    Raises:
        ValueError: ``tasks`` is empty, which Label Studio would take for all tasks of the project.
        StudioError: the server refuses the action.
    """
    if not tasks:
        raise ValueError(f"{action}: the list of tasks is empty, and Label Studio would take all tasks of the project")
    with connection.doing(what):
        connection.client.actions.create(
            id=action,
            project=project_id,
            selected_items={"all": False, "included": sorted(tasks)},
            request_options=WRITE_OPTIONS,
        )
