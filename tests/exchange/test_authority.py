"""Ask timestamp authorities, real and hostile ones, for one stamp: each failure has a code, and none takes longer."""

import pickle
import time
from pathlib import Path
from typing import Any, Final

import pytest

from polarchive.errors import PolError, StampError
from polarchive.exchange.authority import AuthorityError, reason_of
from polarchive.exchange.stamps import StampClient
from tests import tsa
from tests.tsa import FAULTS, POLICY, ROOT, Asked, Fault, client
from tools import authority as openssl

MESSAGE: Final = b"a head"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the keys of a real authority."""
    folder = tmp_path_factory.mktemp("authority")
    openssl.make(folder)
    return folder


@pytest.mark.parametrize("chain", [False, True], ids=["bare", "chain"])
def test_a_real_authority_stamps(authority: Path, chain: bool) -> None:
    with tsa.real(authority, chain) as url:
        found = StampClient(url, roots=[authority / "ca.pem"], policies=[openssl.POLICY]).ask(url, MESSAGE)
    assert found.accuracy is not None and found.accuracy.total_seconds() == 1
    assert len(found.response.signed_data.certificates) == 1 + chain


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_each_fault_has_a_code_of_its_own_and_takes_no_longer_than_it_may(fault: Fault, tmp_path: Path) -> None:
    with fault.served(tmp_path) as url, pytest.raises(PolError) as raised:
        began = time.monotonic()
        client(url, timeout=fault.timeout).ask(url, MESSAGE)
    assert time.monotonic() - began < fault.timeout + 1
    assert reason_of(raised.value) == fault.reason and f"[{fault.reason}]" in str(raised.value)
    assert isinstance(raised.value, StampError if fault.reason.startswith("stamp") else AuthorityError)
    assert "\n" not in str(raised.value) and str(raised.value).startswith(url)


def test_the_faults_are_those_of_a_good_authority_but_for_one_thing() -> None:
    with tsa.listening(tsa.stamps()) as url:
        assert client(url).ask(url, MESSAGE).policy == POLICY


def test_without_roots_the_answer_must_still_fit_the_request() -> None:
    for name, reason in {
        "other_nonce": "stamp-nonce",
        "other_head": "stamp-imprint",
        "other_policy": "stamp-policy",
    }.items():
        with FAULTS[name].served(Path()) as url, pytest.raises(StampError, match=reason):
            client(url, roots=[]).ask(url, MESSAGE)
    with FAULTS["other_root"].served(Path()) as url:
        assert client(url, roots=[]).ask(url, MESSAGE)


def test_who_answers_by_tls_must_be_known_to_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tsa.listening(tsa.stamps(), tsa.own_certificate(tmp_path)) as url:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "tls.pem"))
        assert client(url).ask(url, MESSAGE).policy == POLICY


def test_a_handshake_that_never_ends_is_cut() -> None:
    began = time.monotonic()
    with tsa.accepting(lambda line: tsa.drip(line, bytes.fromhex("1603034000"), b"a")) as port:
        url = f"https://127.0.0.1:{port}/"
        with pytest.raises(AuthorityError, match="slow"):
            client(url, timeout=0.3).ask(url, MESSAGE)
    assert time.monotonic() - began < 2


def test_a_proxy_of_the_environment_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Asked] = []

    def talk(line: Any, request: Asked) -> None:
        asked.append(request)
        tsa.stamps()(line, request)

    with tsa.listening(talk) as proxy:
        monkeypatch.setenv("http_proxy", proxy)
        monkeypatch.setenv("no_proxy", "elsewhere")
        client("http://tsa.example/stamps").ask("http://tsa.example/stamps", MESSAGE)
    assert asked[0].line.startswith("POST http://tsa.example/stamps ")


@pytest.mark.parametrize(
    "url", ["", "tsa.example", "ftp://tsa.example/", "http:///tsa", "http://a b/", "http://[::1/", "http://h:x/"]
)
def test_what_is_no_url_is_refused_at_once(url: str) -> None:
    with pytest.raises(PolError, match="URL"):
        StampClient(url)


def test_other_settings_that_make_no_sense_are_refused_at_once(tmp_path: Path) -> None:
    url = "http://tsa.example/"
    settings: list[dict[str, Any]] = [{"every": 0}, {"timeout": 0}, {"patience": -1}]
    for setting in settings:
        with pytest.raises(ValueError):
            StampClient(url, **setting)
    with pytest.raises(ValueError):
        StampClient([])
    with pytest.raises(FileNotFoundError):
        StampClient(url, roots=[tmp_path / "none.pem"])
    with pytest.raises(PolError, match="no certificate"):
        StampClient(url, roots=[b"none"])


def test_a_client_goes_to_another_process_whole(authority: Path) -> None:
    made = StampClient("http://u:p@tsa.example/", roots=[authority / "ca.pem", ROOT])
    assert pickle.loads(pickle.dumps(made)) == made
    assert len(made.certificates) == 2
