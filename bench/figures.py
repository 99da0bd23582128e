"""What a scenario found: a figure, its baseline, its floor, and whether it was kept."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measured figure."""

    name: str
    value: float
    unit: str = "/s"
    baseline: float = 0.0
    floor_ratio: float = 0.0
    floor: float = 0.0
    """An absolute floor; a ceiling when negative."""
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    errors: int = 0

    @property
    def ratio(self) -> float:
        """The figure in terms of its baseline."""
        return self.value / self.baseline if self.baseline else 0.0

    @property
    def floor_text(self) -> str:
        """The floor for people."""
        if self.floor_ratio:
            return f">= {self.floor_ratio:.2f} x"
        if self.floor < 0:
            return f"<= {-self.floor:,.0f}"
        return f">= {self.floor:,.0f}" if self.floor else ""

    @property
    def verdict(self) -> str:
        """Whether the floor was kept."""
        if not self.floor_text:
            return ""
        if self.floor_ratio:
            return "yes" if self.ratio >= self.floor_ratio else "NO"
        if self.floor < 0:
            return "yes" if self.value <= -self.floor else "NO"
        return "yes" if self.value >= self.floor else "NO"

    @property
    def latency(self) -> str:
        """Median and 99th percentile."""
        return f"{self.p50_ms:.1f} / {self.p99_ms:.1f}" if self.p50_ms else ""
