"""The searchable listings of a process: words of the trade, an index in memory, and its freshness."""
