"""The agreement of the people who labeled a dataset, beside the metrics of a model: the human ceiling.

The macro-F1 between people is that of one person measured against another (`pelagia label agreement`), so it can be
compared with the macro-F1 of a model, which is measured against the labels.
"""

from __future__ import annotations

from collections.abc import Sequence

from pelagia.dataset.schema import Interval, LabelAgreement

TITLE = "Macro-F1 between people"


def with_people(tiles: Sequence[dict[str, str]], agreement: LabelAgreement | None) -> list[dict[str, str]]:
    """The tiles of the report's summary, with that of the people after the model's macro-F1.

    The same tiles are returned if the dataset does not say how far people agree.
    """
    if agreement is None or agreement.macro_f1 is None:
        return list(tiles)
    tile = {"name": TITLE, "text": f"{agreement.macro_f1:.3f}", "range": _between(agreement.macro_f1_interval)}
    place = 1 + next((index for index, one in enumerate(tiles) if one["name"] == "Macro-F1"), len(tiles) - 1)
    return [*tiles[:place], tile, *tiles[place:]]


def people_note(agreement: LabelAgreement | None) -> list[str]:
    """The sentence that explains the tile; empty without a tile."""
    if agreement is None or agreement.macro_f1 is None:
        return []
    alpha = "" if agreement.alpha is None else f", Krippendorff\u2019s alpha {agreement.alpha:.3f}"
    return [
        f"The macro-F1 between people is that of one person measured against another ({agreement.images} images that "
        f"two or more of {agreement.people} people labeled, also those left out as disputed{alpha}): a model that "
        "reaches it differs from the labels no more than people differ from each other."
    ]


def people_line(agreement: LabelAgreement | None) -> str:
    """The line that `pelagia evaluate` prints below the metrics; empty if there is none."""
    if agreement is None or agreement.macro_f1 is None:
        return ""
    interval = agreement.macro_f1_interval
    ends = f"  {interval[0]:.4f} to {interval[1]:.4f}" if interval else ""
    return f"{'between people':18} {agreement.macro_f1:.4f}{ends}  macro-F1 of one person measured against another"


def _between(interval: Interval) -> str:
    return "no interval" if interval is None else f"{interval[0]:.3f}\u2013{interval[1]:.3f}"
