"""[guards] in serve.toml: the policy file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from smallworks.server.section import FilePath, Section

if TYPE_CHECKING:
    from smallworks.guard import Guards


class GuardsConfig(Section):
    policy: FilePath = Field(examples=["policy.toml"])

    def check(self) -> str:
        from smallworks.guard import check, load  # as below: only a server with guards loads them

        policy = load(self.policy)
        check(policy)
        return f"'{self.policy}': {len(policy.rules)} rules"

    def open(self) -> Guards:
        """Raises UserError for a policy, a pattern or a bundle that cannot be used."""
        from smallworks.guard import Guards

        return Guards.open(self.policy)
