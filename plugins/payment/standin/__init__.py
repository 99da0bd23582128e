"""A strict local stand-in for Razorpay: a process of its own, for development, tests and demonstrations.

It behaves as ``providers.md`` says the provider does, the unpleasant parts included, and keeps its own
books, against which ours are checked. No product code imports it.
"""
