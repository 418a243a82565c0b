"""The tree keeps its form: few modules a folder, functions that fit on a screen, no circle of imports, plain words."""

from __future__ import annotations

import ast
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PARTS = {
    "core": "pelagia",
    "inference": "pelagia_inference",
    "desk": "pelagia_desk",
    "labeling": "pelagia_labeling",
    "training": "pelagia_training",
}
MOST_MODULES = 15
MOST_LINES = 60
_DOCUMENTED = "half of it or more is its signature and the description of its arguments"
LONG_FUNCTIONS = {
    "core/pelagia/dataset/write.py:write_dataset": _DOCUMENTED,
    "core/pelagia/survey/journal.py:open_for_writing": _DOCUMENTED,
    "desk/pelagia_desk/desk.py:open_desk": _DOCUMENTED,
    "inference/pelagia_inference/checks/commands.py:check": "half of it is the description of its options",
    "inference/pelagia_inference/commands.py:classify": "it names each of its twelve options twice",
    "inference/pelagia_inference/decisions/commands.py:decide": "it names each of its options twice",
    "inference/pelagia_inference/decisions/commands.py:explain": "it names each of its options twice",
    "inference/pelagia_inference/decisions/compare.py:compare": _DOCUMENTED,
    "inference/pelagia_inference/decisions/explain.py:explain": _DOCUMENTED,
    "inference/pelagia_inference/exports/commands.py:survey_export": "it names each of its options twice",
    "inference/pelagia_inference/exports/dwc/export.py:write_dwc": _DOCUMENTED,
    "inference/pelagia_inference/survey/runner.py:classify": _DOCUMENTED,
    "inference/pelagia_inference/counts/counts.py:count_survey": _DOCUMENTED,
    "inference/pelagia_inference/embed_commands.py:embed": "it names each of its options twice",
    "inference/pelagia_inference/survey/embed.py:embed": _DOCUMENTED,
    "labeling/pelagia_labeling/commands.py:label_pull": "it names each of its options twice",
    "labeling/pelagia_labeling/commands.py:label_push": "it names each of its options twice",
    "labeling/pelagia_labeling/sheets/push.py:push_sheets": _DOCUMENTED,
    "labeling/pelagia_labeling/dataset_commands.py:dataset_import": "it names each of its options twice",
    "labeling/pelagia_labeling/exports/export.py:export_dataset": _DOCUMENTED,
    "labeling/pelagia_labeling/importers/dataset.py:import_dataset": _DOCUMENTED,
    "labeling/pelagia_labeling/people/commands.py:label_agreement": "it names each of its options twice",
    "labeling/pelagia_labeling/progress/commands.py:label_review": _DOCUMENTED,
    "labeling/pelagia_labeling/progress/commands.py:label_status": "it names each of its options twice",
    "labeling/pelagia_labeling/progress/review.py:review": _DOCUMENTED,
    "labeling/pelagia_labeling/progress/status.py:status_of": _DOCUMENTED,
    "labeling/pelagia_labeling/labels/pull.py:pull": _DOCUMENTED,
    "labeling/pelagia_labeling/selection/commands.py:label_select": "it names each of its options twice",
    "labeling/pelagia_labeling/tasks/push.py:push": _DOCUMENTED,
    "labeling/pelagia_labeling/versions/merge.py:merge": _DOCUMENTED,
    "training/pelagia_training/commands.py:export": "it names each of its options twice",
    "training/pelagia_training/measure_commands.py:evaluate": _DOCUMENTED,
    "training/pelagia_training/data/crop_cache.py:open_cache": _DOCUMENTED,
    "training/pelagia_training/ensemble/export.py:export_ensemble": _DOCUMENTED,
    "training/pelagia_training/evaluation/evaluate.py:evaluate": _DOCUMENTED,
    "training/pelagia_training/evaluation/evaluate.py:evaluation_of": "it fills the 18 fields of one object",
    "training/pelagia_training/export/embedder.py:make_embedder": _DOCUMENTED,
    "training/pelagia_training/export/export.py:export": _DOCUMENTED,
    "training/pelagia_training/export/quantize.py:quantize": _DOCUMENTED,
    "training/pelagia_training/frontier_command.py:frontier": _DOCUMENTED,
    "training/pelagia_training/fit/targets.py:load_teachers": _DOCUMENTED,
    "training/pelagia_training/retrain_commands.py:retrain": _DOCUMENTED,
    "training/pelagia_training/train_command.py:train": _DOCUMENTED,
}
"""Functions of more than 40 lines, and why each is not shorter."""

STRANGE_WORDS = (
    "score of the unknown",
    "says nothing",
    "flatter",
    "goes on where",
    "broken off",
    "no whole number",
    "second thoughts",
    "stands twice",
    r"\bmend(?!en-Deuer)",
    r"\banew\b",
)
"""Words that users stumbled over; regular expressions."""


def modules() -> list[Path]:
    """Every Python file of the repository that is under version control."""
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("this is not a git checkout")
    return [path for name in listed.stdout.splitlines() if (path := REPOSITORY / name).is_file()]


def parts_of(path: Path) -> str:
    return path.relative_to(REPOSITORY).parts[0]


def functions() -> Iterator[tuple[str, int]]:
    for path in modules():
        if parts_of(path) not in PARTS:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                name = f"{path.relative_to(REPOSITORY).as_posix()}:{node.name}"
                yield name, (node.end_lineno or node.lineno) - node.lineno + 1


def test_no_folder_has_more_modules_than_one_can_survey() -> None:
    counts = Counter(path.parent.relative_to(REPOSITORY).as_posix() for path in modules() if path.stem != "__init__")
    assert {folder: count for folder, count in counts.items() if count > MOST_MODULES} == {}


def test_a_function_fits_on_a_screen() -> None:
    found = dict(functions())
    assert {name: lines for name, lines in found.items() if lines > MOST_LINES} == {}
    assert {name for name, lines in found.items() if lines > 40} == LONG_FUNCTIONS.keys()


def test_no_module_imports_itself_through_others() -> None:
    graph = grimp.build_graph(*PARTS.values())
    imports = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    tuple(TopologicalSorter(imports).static_order())  # raises CycleError, which names the circle


@pytest.mark.parametrize("word", STRANGE_WORDS)
def test_no_text_has_a_word_that_users_stumbled_over(word: str) -> None:
    texts = [path for path in modules() if parts_of(path) in PARTS]
    texts += [REPOSITORY / "README.md", *(REPOSITORY / "docs").rglob("*.md")]
    found = [
        f"{path.relative_to(REPOSITORY).as_posix()}:{number}: {line.strip()}"
        for path in texts
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if re.search(word, line, re.IGNORECASE)
    ]
    assert found == []
