"""The microkernel: what a plugin may declare, and what it is promised in return."""
