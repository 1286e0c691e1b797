"""The database: tables, repositories and migrations (SQLAlchemy Core; SQLite or PostgreSQL by URL)."""
