"""Cohorts: for each predicted class, a tab of the project's table with the crops that nobody has labeled yet.

Invariant: a tab shows all crops without a label whose prediction names the class, the least sure first. A later push
finds a tab by what it shows, not by its title, so people may rename it and change its columns.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import Any

from pelagia.taxonomy import Taxonomy
from pelagia_labeling.studio.connection import Connection
from pelagia_labeling.tasks.interface import class_names
from pelagia_labeling.tasks.project import Project, get_project

COLUMNS = 10
"""Number of crops in a row of a tab."""

_COLUMNS = """
inner_id completed_at total_annotations cancelled_annotations total_predictions annotators annotations_results
annotations_ids predictions_score predictions_model_versions predictions_results file_upload storage_filename created_at
updated_at updated_by avg_lead_time draft_exists
"""
"""Label Studio's own columns, which would stand under each crop."""


def update_tabs(connection: Connection, project_id: int, taxonomy: Taxonomy) -> dict[str, int]:
    """Makes the tabs that are missing, brings the numbers in the titles up to date, and removes tabs without a crop.

    Args:
        connection: the connection to the server.
        project_id: number of a project of single crops.
        taxonomy: the classes, in the order of the tabs.

    Returns:
        Class -> number of crops in its tab.
    """
    project = get_project(connection, project_id)
    former = {name: stored for stored, name in class_names(project.config).items()}
    stored = {name: former.get(name, name) for name in taxonomy.names}
    counts, hidden = _unlabeled(connection, project, stored), _hidden_columns(connection, project)
    making = partial(connection.send, what=f"making the tabs of '{project.title}'")
    tabs = connection.get_json("/api/dm/views/", {"project": project.id}, what=f"listing the tabs of '{project.title}'")
    for name in taxonomy.names:
        present = [tab for tab in tabs if _shows(tab.get("data") or {}, stored[name])]
        title = f"{name}? {counts[name]}"
        own_title = rf"({re.escape(name)}|{re.escape(stored[name])})\? \d+"
        if counts[name] and not present:
            new = _table(stored[name], hidden) | {"title": title}
            making("POST", "/api/dm/views/", {"project": project.id, "data": new})
        for tab in present:
            address, before = f"/api/dm/views/{tab['id']}/", str(tab["data"].get("title"))
            if not counts[name]:
                making("DELETE", address)
            elif before != title and re.fullmatch(own_title, before):
                making("PATCH", address, {"project": project.id, "data": tab["data"] | {"title": title}})
    return {name: counts[name] for name in taxonomy.names if counts[name]}


def _unlabeled(connection: Connection, project: Project, stored: Mapping[str, str]) -> Counter[str]:
    """Class -> number of crops in its tab. The server counts them; reading all tasks would take as long as a push.

    Args:
        connection: the connection to the server.
        project: the project.
        stored: class -> the name under which predictions have it.
    """
    counts: Counter[str] = Counter()
    for name, former in stored.items():
        query = json.dumps({"filters": {"conjunction": "and", "items": _filter(former)}})
        params: dict[str, str | int] = {"project": project.id, "page_size": 1, "include": "id", "query": query}
        answer = connection.get_json("/api/tasks/", params, what=f"counting the crops of '{project.title}'")
        counts[name] = int(answer["total"])
    return counts


def _hidden_columns(connection: Connection, project: Project) -> list[str]:
    """All columns of the table but the image."""
    summary = connection.get_json(f"/api/projects/{project.id}/summary/", what="listing the columns of the table")
    own = [f"data.{key}" for key in summary.get("all_data_columns") or {} if key != "image"]
    return [f"tasks:{name}" for name in (*_COLUMNS.split(), *own)]


def _filter(class_name: str) -> list[dict[str, Any]]:
    return [
        {
            "filter": "filter:tasks:predictions_results",
            "operator": "contains",
            "type": "String",
            "value": json.dumps(class_name),  # with the quotes, or "egg" would also find "egg_clump"
        },
        {"filter": "filter:tasks:total_annotations", "operator": "equal", "type": "Number", "value": 0},
    ]


def _table(class_name: str, hidden: list[str]) -> dict[str, Any]:
    """The data of a tab, as the server's API takes it."""
    return {
        "type": "grid",
        "gridWidth": COLUMNS,
        "hiddenColumns": {"explore": hidden, "labeling": hidden},
        "ordering": ["tasks:predictions_score"],
        "filters": {"conjunction": "and", "items": _filter(class_name)},
    }


def _shows(data: dict[str, Any], class_name: str) -> bool:
    """Whether a tab has the filter of a class."""
    items = (data.get("filters") or {}).get("items") or []
    found = [(item.get("filter"), item.get("value")) for item in items if isinstance(item, dict)]
    return found == [(item["filter"], item["value"]) for item in _filter(class_name)]
