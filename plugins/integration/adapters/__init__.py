"""Who fills integration's ports."""
