"""The integration plugin; see README.md beside this file."""
