"""A survey's results as CSV and Parquet files."""
