"""The columns of a survey's results. Every output format uses this definition."""

from __future__ import annotations

from dataclasses import dataclass

VERDICT = ("decision", "accepted_as", "accepted_rank", "unknown_score")
"""The fields of `pelagia.model.decision.Verdict`, and the out-of-distribution score."""
RULE = "rule"
"""The rule that gave the verdict, and the numbers that it compared: `pelagia.model.rules`."""


@dataclass(frozen=True)
class ResultColumns:
    """The columns of a row, from left to right.

    Path, status, the likeliest classes, the verdict of a model that decides, why the image failed, and the columns of
    the input.

    Attributes:
        ranks: how many classes a row names, the likeliest first.
        own: the keys of `Prediction.columns`, in the order of the input.
        decides: whether there is a verdict, in the columns `VERDICT`.
        rules: whether the column `RULE` follows the verdict. Surveys that keep no card of their model have none.
    """

    ranks: int
    own: tuple[str, ...]
    decides: bool = False
    rules: bool = False

    @property
    def ranked(self) -> list[tuple[str, str]]:
        """For each rank, the name of the class column and of its probability column."""
        endings = ["", *(f"_{rank}" for rank in range(2, self.ranks + 1))]
        return [(f"class{ending}", f"probability{ending}") for ending in endings]

    @property
    def header(self) -> list[str]:
        """Every column name, each once. A column of the input whose name is taken gets ``survey_`` before it."""
        verdict = (*(VERDICT if self.decides else ()), *([RULE] if self.rules else []))
        names = ["path", "status", *(name for pair in self.ranked for name in pair), *verdict, "reason", "message"]
        taken = set(names) | set(self.own)
        for name in self.own:
            free = name
            while free in names or (free != name and free in taken):
                free = f"survey_{free}"
            names.append(free)
        return names
