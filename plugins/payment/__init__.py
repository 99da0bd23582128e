"""The payment plugin; see README.md beside this file."""
