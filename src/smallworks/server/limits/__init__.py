"""What keys may do and have done, counted exactly: in this process, an SQLite file, PostgreSQL or Redis."""
