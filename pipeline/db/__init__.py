"""The store's database: SQLite or PostgreSQL, with its migrations. It owns no table of anybody's."""
