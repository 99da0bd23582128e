"""The notification plugin; see README.md beside this file."""
