"""The identity plugin; see README.md beside this file."""
