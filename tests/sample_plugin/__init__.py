"""A plugin of its own for the tests of bus and kernel: a contract, tables, and handlers made by each test."""
