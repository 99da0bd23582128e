"""The kernel's own database: what operators switched, the gateways' keys, and operators' acts."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from kernel.database import Database
from kernel.sql import statement
from kernel.tokens import KEY_LIFETIME, TokenMint

OVERRIDES = statement("SELECT plugin, is_enabled, reason, set_by FROM plugin_overrides")
SET_OVERRIDE = statement(
    """
    INSERT INTO plugin_overrides (plugin, is_enabled, reason, set_by)
    VALUES (:plugin, :is_enabled, :reason, :set_by)
    ON CONFLICT (plugin) DO UPDATE SET is_enabled = excluded.is_enabled,
        reason = excluded.reason, set_by = excluded.set_by, set_at = now()
    """
)
DROP_OVERRIDE = statement("DELETE FROM plugin_overrides WHERE plugin = :plugin")
LIVE_KEYS = statement("SELECT kid, public_key FROM gateway_keys WHERE expires_at > now()")
PUBLISH_KEY = statement(
    """
    INSERT INTO gateway_keys (kid, public_key, holder, expires_at)
    VALUES (:kid, :public_key, :holder, :expires_at)
    ON CONFLICT (kid) DO UPDATE SET expires_at = excluded.expires_at
    """
)
FORGET_KEYS = statement("DELETE FROM gateway_keys WHERE expires_at < now()")
NOTE_ACT = statement(
    "INSERT INTO operator_acts (operator, act, object) VALUES (:operator, :act, :object)"
)
SWITCH_SUBJECT = "kernel.switched"
"""Core subject on which the news of a change spreads; the rows are the truth."""


class Override(NamedTuple):
    """What an operator decided about a plugin, against its default."""

    is_enabled: bool
    reason: str
    set_by: str


class Home:
    """Access to the kernel's own database."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def overrides(self) -> dict[str, Override]:
        """Return all overrides by plugin."""
        return {
            row["plugin"]: Override(row["is_enabled"], row["reason"], row["set_by"])
            for row in await self.database.fetch(OVERRIDES)
        }

    async def override(self, plugin: str, *, is_enabled: bool, reason: str, operator: str) -> None:
        """Write an override, and who wrote it."""
        await self.database.execute(
            SET_OVERRIDE, plugin=plugin, is_enabled=is_enabled, reason=reason, set_by=operator
        )
        await self.note(operator, "enable" if is_enabled else "disable", plugin)

    async def reset(self, plugin: str, *, operator: str) -> bool:
        """Drop an override; returns whether there was one."""
        dropped = await self.database.execute(DROP_OVERRIDE, plugin=plugin)
        await self.note(operator, "reset", plugin)
        return dropped > 0

    async def note(self, operator: str, act: str, thing: str) -> None:
        """Write down what an operator did."""
        await self.database.execute(NOTE_ACT, operator=operator, act=act, object=thing)

    async def gateway_keys(self) -> Mapping[str, bytes]:
        """Return the public keys by which bus tokens are verified."""
        return {row["kid"]: row["public_key"] for row in await self.database.fetch(LIVE_KEYS)}

    async def publish_key(self, mint: TokenMint, holder: str) -> None:
        """Publish the public half of a gateway's key; repeat it daily."""
        await self.database.execute(
            PUBLISH_KEY,
            kid=mint.kid,
            public_key=mint.public_key,
            holder=holder,
            expires_at=datetime.now(UTC) + KEY_LIFETIME,
        )
        await self.database.execute(FORGET_KEYS)
