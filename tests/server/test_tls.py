"""TLS of the server: 1.2 at least, renewed certificates taken up, wrong files refused with the fix."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import httpx2
import pytest

from smallworks.engines.predictor import Predictor
from smallworks.errors import UserError
from smallworks.server import create_app
from smallworks.server.run import DRAIN_SECONDS, Server, listen
from smallworks.server.tls import Certificate, Tls

if shutil.which("openssl") is None:
    pytest.skip("openssl is not installed: no certificate can be made", allow_module_level=True)


def certify(folder: Path, name: str) -> Tls:
    """A self-signed certificate for 127.0.0.1 whose subject is `name`."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command = ["openssl", "req", "-x509", "-nodes", *curve]
    options = ["-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    subprocess.run(
        [*command, *options, "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True
    )
    return Tls(cert=cert, key=key)


@pytest.fixture()
def certificate(tmp_path: Path) -> Certificate:
    return Certificate(certify(tmp_path, "first"))


@pytest.fixture()
def port(certificate: Certificate, labelling: Callable[..., Predictor]) -> Iterator[int]:
    app = create_app({"tickets": labelling()}, default="tickets")
    with listen("127.0.0.1", 0) as listener:
        server = Server(app, lambda url: None, certificate.context)
        thread = Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        server.drain()
        thread.join(timeout=DRAIN_SECONDS)


def subject(port: int) -> str:
    """The name in the certificate that a new connection is shown."""
    import socket

    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    plain = socket.create_connection(("127.0.0.1", port), timeout=10)
    with plain, context.wrap_socket(plain) as connection:
        shown = connection.getpeercert(binary_form=True)
    assert shown
    return "second" if b"second" in shown else "first" if b"first" in shown else "?"


def test_answers_come_over_tls(port: int, tmp_path: Path) -> None:
    trusted = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
    with httpx2.Client(base_url=f"https://127.0.0.1:{port}", verify=trusted, timeout=20) as client:
        assert client.get("/healthz").status_code == 200
        assert client.post("/generate", json={"input_text": "It crashes."}).json()["output"] == "bug"


def test_older_versions_are_refused(port: int) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(httpx2.HTTPError):
        httpx2.get(f"https://127.0.0.1:{port}/healthz", verify=old, timeout=20)


def test_a_renewed_certificate_is_shown_to_new_connections(
    port: int, certificate: Certificate, tmp_path: Path
) -> None:
    assert subject(port) == "first"
    certificate.look(False)
    assert subject(port) == "first"
    certify(tmp_path, "second")
    certificate.look(False)
    assert subject(port) == "second"


def test_a_half_written_renewal_leaves_the_old_one(
    port: int, certificate: Certificate, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "key.pem").write_text("half of a")
    certificate.look(False)
    certificate.look(False)
    assert subject(port) == "first"
    assert caplog.text.count("refused") == 1 and "half of a" not in caplog.text
    certify(tmp_path, "second")
    os.utime(tmp_path / "cert.pem", (1, 1))
    certificate.look(False)
    assert subject(port) == "second"


def test_files_that_cannot_be_used_are_refused_with_the_fix(tmp_path: Path) -> None:
    tls = certify(tmp_path, "one")
    (tmp_path / "other").mkdir()
    other = certify(tmp_path / "other", "two")
    (tmp_path / "text.pem").write_text("no certificate")
    with pytest.raises(UserError, match="There is no file"):
        Tls(cert=tmp_path / "none.pem", key=tls.key).check()
    for cert, key in ((tls.cert, other.key), (tmp_path / "text.pem", tls.key)):
        with pytest.raises(UserError, match=r"cannot be used for TLS.*its own private key"):
            Tls(cert=cert, key=key).check()
    assert "TLS 1.2" in tls.check()


def test_a_key_behind_a_password_is_refused_without_asking(tmp_path: Path) -> None:
    tls = certify(tmp_path, "one")
    locked = tmp_path / "locked.pem"
    command = f"openssl pkey -in {tls.key} -aes128 -passout pass:secret -out {locked}".split()
    subprocess.run(command, check=True, capture_output=True)
    with pytest.raises(UserError, match="without a password"):
        Tls(cert=tls.cert, key=locked).check()
