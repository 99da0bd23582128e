"""Logs: one JSON object a line, or coloured text for people; secrets and personal data masked."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Final

import structlog

from kernel.config import TelemetrySettings

SECRET_NAMES: Final = re.compile(
    r"password|secret|token|authorization|api_key|signature|otp", re.IGNORECASE
)
PERSONAL_NAMES: Final = re.compile(r"^(e_?mail|phone|name|line1|address|street)$", re.IGNORECASE)
EMAIL: Final = re.compile(r"[\w.+-]+@[\w-]+(\.[\w-]+)+")
PHONE: Final = re.compile(r"\+\d{8,15}\b")
URL_CREDENTIAL: Final = re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)")


def configure_logs(settings: TelemetrySettings, *, service: str) -> None:
    """Set up structlog and the standard library's logging for this process."""
    level = getattr(logging, settings.log_level.upper())
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        if settings.log_format == "console"
        else structlog.processors.JSONRenderer()
    )

    def add_service(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["service"] = service
        return event

    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_service,
        structlog.processors.format_exc_info,
        mask,
    ]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(processor=renderer, foreign_pre_chain=shared)
    )
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[handler], force=True)


def mask(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Hide secrets by their names, and e-mails, phones and credentials wherever they stand in text."""
    for name, value in event.items():
        if SECRET_NAMES.search(name) or PERSONAL_NAMES.match(name):
            event[name] = "***"
        elif isinstance(value, str):
            event[name] = mask_text(value)
    return event


def mask_text(text: str) -> str:
    """Hide e-mails, phones and credentials of addresses in a text."""
    if "@" not in text and "+" not in text:
        return text
    text = URL_CREDENTIAL.sub("***", text)
    return PHONE.sub("***", EMAIL.sub("***", text))
