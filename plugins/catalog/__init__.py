"""The catalog plugin; see README.md beside this file."""
