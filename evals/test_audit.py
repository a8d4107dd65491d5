"""Whether the metrics can be believed: measured where the truth is known (--sae-audit)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_sae.audit.panel_checks import unsound

if TYPE_CHECKING:
    from pytest_sae.audit.values import WorldAudit


def test_audit(audited: WorldAudit) -> None:
    """The panel is worth being ranked; what the metrics make of it stands in the report."""
    assert not unsound(audited), "\n".join(unsound(audited))
