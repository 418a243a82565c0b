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

CELLS_COUNTED, CELLS_VOTES = "cells_counted", "cells_votes"
"""Columns of the manifest: the cells that people counted on the image, empty if nobody did; and what each of them
counted, if there were several. They belong to the image: another label leaves them as they are.
"""

CELL_COLUMNS = (CELLS_COUNTED, CELLS_VOTES)

MOST_CELLS = 10_000
"""A person who counted does not write a larger number of cells for one image: it is taken for a slip of the hand."""
