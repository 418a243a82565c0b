"""How the counts of a new model are corrected, chosen by simulation on groups that were left out."""
