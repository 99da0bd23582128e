"""A plugin in a distribution of its own: favourite products, and news of their prices."""
