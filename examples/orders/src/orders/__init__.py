"""Orders over HTTP, kept in PostgreSQL."""

__version__ = "1.0.0"
