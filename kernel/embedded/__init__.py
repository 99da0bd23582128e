"""Real servers without installing any: PostgreSQL, NATS and Redis from PyPI wheels, under one folder."""
