"""The tour that ``python -m requests_h2.demo`` runs, and its embedded server."""
