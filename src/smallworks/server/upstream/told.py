"""What a client is told when no server answered: in our words, without addresses and keys. Pure."""

from __future__ import annotations

from smallworks.errors import SmallworksError
from smallworks.server import failures
from smallworks.server.upstream.failed import Failed

AGAIN = "Ask again; where it stays so, tell the operator."


def refusal(failed: Failed, name: str, words: str) -> SmallworksError:
    """The error for the last attempt's failure. `words` are the server's own, fit to be shown."""
    match failed.cause:
        case "refused":
            return failures.UpstreamRefused(
                words or f"The server behind '{name}' refused the request with {failed.status}.",
                fix="" if words else "Check the request's fields.",
                status=failed.status,
                code=failed.code,
                param=failed.param,
            )
        case "busy":
            return failures.UpstreamBusy(
                f"The servers behind '{name}' take no more requests just now.",
                fix="Ask again after the seconds in Retry-After.",
                seconds=failed.seconds,
            )
        case "timeout":
            return failures.UpstreamSlow(f"The server behind '{name}' did not answer in time.", fix=AGAIN)
        case "garbage" | "redirected" | "too_large":
            reasons = {"garbage": "is no JSON as it should be", "too_large": "is too large"}
            why = reasons.get(failed.cause, "points elsewhere, where nobody follows")
            return failures.UpstreamGarbage(
                f"What the server behind '{name}' answered {why}.", fix="Tell the operator."
            )
        case "denied":
            return failures.UpstreamDenied(
                f"The server behind '{name}' does not take this server's key.", fix="Tell the operator."
            )
        case "connect" | "broken" | "status":
            what = f"failed with {failed.status}" if failed.status else "is down or broke off"
            return failures.UpstreamDown(f"The server behind '{name}' {what}.", fix=AGAIN)


def nobody(name: str, seconds: float) -> SmallworksError:
    """No server may be asked just now."""
    return failures.NoUpstream(
        f"No server behind '{name}' can be asked just now.",
        fix="Ask again after the seconds in Retry-After.",
        seconds=seconds,
    )
