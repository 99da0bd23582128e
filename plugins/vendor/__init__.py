"""The vendor plugin; see README.md beside this file."""
