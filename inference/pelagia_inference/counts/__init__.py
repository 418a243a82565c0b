"""From the rows of a survey to counts by sample, class and taxon."""
