"""The HTTP gateway: authenticate, decode, ask the bus, answer. No SQL, no stream, no business rule."""
