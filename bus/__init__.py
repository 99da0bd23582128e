"""The bus: typed messages over NATS JetStream. It knows nothing of plugins."""
