"""The order plugin; see README.md beside this file."""
