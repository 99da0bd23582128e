"""Payment providers behind the port of ``plugins.payment.provider``."""
