"""Who fills notification's ports."""
