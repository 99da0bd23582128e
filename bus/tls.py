"""TLS to the servers of the bus: whom we believe, and what we show."""

import ssl
from typing import NamedTuple


class TlsFiles(NamedTuple):
    """Who may have signed the servers' certificates, and what we show in our turn."""

    ca: str
    cert: str = ""
    key: str = ""

    def context(self) -> ssl.SSLContext:
        """Return what a TLS connection needs; raises OSError, ssl.SSLError for files that are none."""
        context = ssl.create_default_context(cafile=self.ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.cert:
            context.load_cert_chain(self.cert, self.key)
        return context
