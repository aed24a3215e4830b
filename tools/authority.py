"""Be a timestamp authority on this machine, for demonstrations and tests: `openssl ts` behind a web server.

    python tools/authority.py FOLDER [--port PORT] [--bare]

Makes a root (FOLDER/ca.pem) and a certificate for timestamps under it, if they are not there, prints a URL and answers
requests until interrupted. Like many public authorities it sends its chain, which --bare leaves out. Whoever reads
FOLDER can make stamps of any time: it is no authority for anything that matters.
"""

import subprocess
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any

import click

POLICY = "1.2.3.4.1"
CONFIGURATION = f"""
[bare]
serial = serial
signer_cert = tsa.pem
signer_key = tsa.key
signer_digest = sha256
default_policy = {POLICY}
digests = sha256
accuracy = secs:1
ess_cert_id_alg = sha256

[chain]
serial = serial
signer_cert = tsa.pem
signer_key = tsa.key
certs = ca.pem
signer_digest = sha256
default_policy = {POLICY}
digests = sha256
accuracy = secs:1
ess_cert_id_alg = sha256
"""
EXTENSIONS = """basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, timeStamping
"""
KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
ROOT = ["-days", "3650", "-subj", "/CN=demonstration"]
ROOT += ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign"]
UNDER = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "3600", "-sha256"]


class Authority:
    """Answer requests with the keys in a folder; one at a time, for openssl's file of serial numbers has no lock."""

    def __init__(self, folder: Path, chain: bool = True) -> None:
        self._folder, self._section, self._lock = folder, "chain" if chain else "bare", Lock()

    def answer(self, request: bytes) -> bytes:
        """Return the response to a request, both as DER."""
        with self._lock, TemporaryDirectory() as place:
            query, reply = Path(place) / "query", Path(place) / "reply"
            query.write_bytes(request)
            which = "-config", "ts.conf", "-section", self._section
            openssl(self._folder, "ts", "-reply", *which, "-queryfile", str(query), "-out", str(reply))
            return reply.read_bytes()


def make(folder: Path) -> Path:
    """Make the keys and certificates of an authority, unless they are there, and return the file with its root."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "serial").exists():
        (folder / "ts.conf").write_text(CONFIGURATION)
        (folder / "tsa.ext").write_text(EXTENSIONS)
        openssl(folder, "req", "-x509", *KEY, *ROOT, "-keyout", "ca.key", "-out", "ca.pem")
        openssl(folder, "req", "-new", *KEY, "-subj", "/CN=timestamps", "-keyout", "tsa.key", "-out", "tsa.csr")
        openssl(folder, "x509", "-req", "-in", "tsa.csr", *UNDER, "-extfile", "tsa.ext", "-out", "tsa.pem")
        (folder / "serial").write_text("01\n")
    return folder / "ca.pem"


def openssl(folder: Path, *words: str) -> None:
    """Run openssl in a folder; CalledProcessError with what it says if it fails."""
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


def server(authority: Authority, port: int = 0) -> ThreadingHTTPServer:
    """Return a web server on this machine that hands requests to an authority."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            answer = authority.answer(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            pass

    return ThreadingHTTPServer(("127.0.0.1", port), Handler)


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--port", default=0, help="0 for any that is free.")
@click.option("--bare", is_flag=True, help="Do not send the chain.")
def main(folder: Path, port: int, bare: bool) -> None:
    """Be a timestamp authority on this machine with the keys in FOLDER."""
    root = make(folder)
    with server(Authority(folder.resolve(), chain=not bare), port) as answering:
        click.echo(f"http://127.0.0.1:{answering.server_port}/ stamps under the root {root}")
        try:
            answering.serve_forever()
        except KeyboardInterrupt:
            click.echo("stopped")


if __name__ == "__main__":
    main()
