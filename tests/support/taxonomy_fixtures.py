"""A small tree of taxa: two copepods, a fish, and a class that is not an organism."""

from pelagia.config import validate
from pelagia.taxonomy import Taxonomy

TREE = validate(
    {
        "name": "tree",
        "taxa": [
            {"name": "Animalia", "rank": "kingdom", "parent": None},
            {"name": "Arthropoda", "rank": "phylum", "parent": "Animalia"},
            {"name": "Copepoda", "rank": "class", "parent": "Arthropoda"},
            {"name": "Calanus", "rank": "genus", "parent": "Copepoda"},
            {"name": "Chordata", "rank": "phylum", "parent": "Animalia"},
        ],
        "classes": [
            {"name": "calanus", "taxon": "Calanus"},
            {"name": "copepod", "taxon": "Copepoda"},
            {"name": "fish", "taxon": "Chordata"},
            {"name": "detritus", "taxon": None},
        ],
    },
    Taxonomy,
    "the tree",
)
