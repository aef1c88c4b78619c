"""TLS of the server itself: certificate and key from two files, TLS 1.2 at least, renewed ones taken up."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

from pydantic import Field

from smallworks.errors import UserError
from smallworks.server.section import FilePath, Section

LOG = logging.getLogger("smallworks.server")


class Tls(Section):
    """[tls]: the certificate with its chain, and the private key, both PEM."""

    cert: FilePath = Field(examples=["/etc/letsencrypt/live/HOST/fullchain.pem"])
    key: FilePath = Field(examples=["/etc/letsencrypt/live/HOST/privkey.pem"])

    def check(self) -> str:
        self.context()
        return f"TLS 1.2 and later, certificate '{self.cert}'"

    def context(self) -> ssl.SSLContext:
        """Raises UserError for files that are not there, or do not belong together."""
        for path in (self.cert, self.key):
            if not path.is_file():
                raise UserError(f"There is no file '{path}'.", fix="Check --tls-cert and --tls-key.")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_COMPRESSION
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(self.cert, self.key, password=_no_password)
        except (OSError, ValueError) as error:
            why = (
                getattr(error, "reason", None) or getattr(error, "strerror", None) or "they are no PEM files"
            )
            raise UserError(
                f"'{self.cert}' and '{self.key}' cannot be used for TLS: {why}.",
                fix="Name a PEM certificate and its own private key, without a password.",
            ) from error
        return context


class Certificate:
    """The certificate of a server that runs: `look` takes up a renewed one for connections from then on."""

    def __init__(self, tls: Tls) -> None:
        """Raises UserError for files that cannot be used."""
        self._tls = tls
        self._seen = self._state()
        self._refused: tuple[tuple[float, int] | None, ...] = ()
        self._newest = self.context = tls.context()
        # Each handshake takes the newest: a context must not be changed while others use it.
        self.context.sni_callback = self._take_newest

    def look(self, asked: bool) -> None:
        """Files that cannot be used leave the certificate as it is: a renewal writes one after the other."""
        state = self._state()
        if state == self._seen and not asked:
            return
        try:
            self._newest = self._tls.context()
        except UserError as error:
            if state != self._refused or asked:
                LOG.error("the renewed certificate is refused, the old one serves on: %s", error)
            self._refused = state
            return
        self._seen = state
        LOG.warning("TLS: '%s' is taken up", self._tls.cert)

    def _take_newest(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        connection.context = self._newest

    def _state(self) -> tuple[tuple[float, int] | None, ...]:
        return tuple(_stamp(path) for path in (self._tls.cert, self._tls.key))


def _stamp(path: Path) -> tuple[float, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime, stat.st_size


def _no_password() -> str:
    """Never ask on the terminal of a service."""
    return ""
