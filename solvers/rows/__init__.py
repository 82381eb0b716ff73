"""Tables in: CSV, XLSX and Parquet become the rows of a problem, in a process of its own: `python -m solvers.rows`."""
