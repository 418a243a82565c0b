"""Tables that people have: the only reader of CSV, TSV and other tables, whatever program wrote them."""
