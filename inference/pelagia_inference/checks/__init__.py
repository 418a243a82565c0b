"""`pelagia check`: measures the objects of a survey, and flags images and samples that are not fit for counting."""
