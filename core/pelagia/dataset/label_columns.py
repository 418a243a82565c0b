"""The columns of a manifest that say how a label came to be.

Invariant: they belong to the label and not to the image. Whoever gives an image another label takes the columns of that
label, or empties them.
"""

from __future__ import annotations

from pelagia.dataset.soft_labels import SOFT_LABEL

SEEN = "label_seen"
"""Column of the manifest: "no" if the label was accepted without the image being shown to anybody, else empty."""

ADJUDICATOR, VOTES = "adjudicator", "votes"
"""Columns of the manifest: who decided, and what the others had said."""

LABEL_COLUMNS = (SOFT_LABEL, SEEN, ADJUDICATOR, VOTES)
