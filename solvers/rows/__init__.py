"""Tables in: CSV, XLSX and Parquet become the rows of a problem. Runs as a throwaway process: `python -m solvers.rows`."""
