"""HTML pages that need no network and no other file: what the reports of all parts share."""
