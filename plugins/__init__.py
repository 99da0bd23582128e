"""The service plugins, one folder each. Only ``contract`` modules may be imported by neighbours."""
