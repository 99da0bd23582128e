"""New plugins: a folder of template files, filled in and written out."""

from kernel.scaffold.making import make_plugin

__all__ = ["make_plugin"]
