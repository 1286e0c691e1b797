"""The store's database: SQLite or PostgreSQL, with migrations. It owns no room's table."""
