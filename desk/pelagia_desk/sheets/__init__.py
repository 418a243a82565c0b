"""The sheet page: crops that a model takes for the same class, on one page; and growing a class by its neighbors."""
