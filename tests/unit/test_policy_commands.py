"""`throng policy` and `throng audit` on topics in memory: what they say, what they write, and how they end."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from msgspec import UNSET
from msgspec.structs import replace

import streams.cli.audit
import streams.cli.policy
import streams.stores.audit
from schemas.audit import Entry
from streams.cli.main import run
from streams.core.rules.audit import canonical, sealed
from streams.core.times import milliseconds
from streams.stores.policies import SHIPPED
from tests.support.topics import NOON, Kafka
from tests.support.world import epochs_at

Throng = Callable[..., tuple[int, str, str]]


@pytest.fixture
def throng(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Throng:
    Kafka.topics = {}
    for module in (streams.stores.audit, streams.cli.policy, streams.cli.audit):
        monkeypatch.setattr(module, "TailReader", Kafka)
    monkeypatch.setattr(streams.stores.audit, "AIOKafkaProducer", Kafka)
    policies = tmp_path / "policies"
    policies.mkdir()
    for file in SHIPPED.glob("*.toml"):
        (policies / file.name).write_bytes(file.read_bytes())
    monkeypatch.setenv("THRONG_GATEWAY_POLICIES", str(policies))
    monkeypatch.setenv("THRONG_GATEWAY_PLAN", str(tmp_path / "none.json"))

    def call(*arguments: str) -> tuple[int, str, str]:
        code = run([*arguments, "--kafka", "nowhere:1"])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def edit(tmp_path: Path, *changes: tuple[str, str]) -> None:
    file = tmp_path / "policies" / "test.toml"
    text = file.read_text()
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    file.write_text(text)


def test_a_suspension_is_written_with_who_and_why_and_a_resumption_needs_a_reason(throng: Throng) -> None:
    assert throng("policy", "apply")[0] == 0
    code, said, _ = throng("policy", "suspend", "001", "--by", "the ministry", "--reason", " an order ")
    first, second = said.splitlines()
    assert (code, first) == (0, "Test network is suspended; every worker follows within 5 s")
    assert second.startswith("entry 2 of the audit log, by the ministry; hash ")
    assert throng("policy", "suspend", "test network")[1] == "Test network is suspended already\n"
    code, _, wrong = throng("policy", "resume", "Test network")
    loosened = "Test network: state suspended -> active (looser)"
    assert (code, wrong) == (2, f"throng: this loosens something ({loosened}): give a reason with --reason\n")
    assert throng("policy", "resume", "Test network", "--reason", "  ")[0] == 2
    assert len(Kafka.topics["audit"]) == 2
    Kafka.topics["epochs"] = [msgspec.json.encode(epochs_at(NOON)[0])]
    code, said, _ = throng("policy", "resume", "Test network", "--reason", "lifted", "--by", "x")
    assert code == 0
    assert said.startswith("Test network is active from the next epoch on, which begins 2026-03-03T03:00:00Z\n")
    assert throng("policy", "resume", "001", "--reason", "lifted")[1] == "Test network is active already\n"
    _, said, _ = throng("audit", "show")
    assert (
        "the ministry: suspend Test network: an order\n     Test network: state active -> suspended (tighter)" in said
    )
    assert "x: resume Test network: lifted" in said
    assert throng("policy", "suspend", "nowhere")[0] == 2
    assert throng("policy", "suspend", "001", "--by", " ")[0] == 2


def test_a_decision_is_of_kafkas_time_wherever_its_writers_clock_was_off(
    throng: Throng, monkeypatch: pytest.MonkeyPatch
) -> None:
    throng("policy", "apply", "--by", "me")
    at = msgspec.json.decode(Kafka.topics["audit"][0], type=Entry).at
    told = f"2026-03-02T11:00:00Z (by the writer's clock {at})"
    assert throng("audit", "show")[1].startswith(f"1  {told}  me: adopt")
    assert f"by me, {told}, entry 1," in throng("policy", "show")[1]
    monkeypatch.setattr("tests.support.topics.NOON", milliseconds(at) + 60_000)
    assert throng("audit", "show")[1].startswith(f"1  {at}  me: adopt")


def test_who_decides_is_the_systems_user_unless_another_is_named(
    throng: Throng, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams.stores.audit.getpass, "getuser", lambda: "mueller")
    throng("policy", "apply")
    assert ", by mueller; hash " in throng("policy", "suspend", "208")[1]


def test_files_are_put_in_force_by_apply_alone_tighter_at_once_looser_later(throng: Throng, tmp_path: Path) -> None:
    code, _, wrong = throng("policy", "suspend", "Germany")
    assert code == 1 and "the deployment has no rules yet: start a gateway" in wrong
    first = "the files are the deployment's first rules"
    assert throng("policy", "apply", "--dry-run")[1] == f"{first}\n"
    assert Kafka.topics == {}
    assert throng("policy", "apply")[1].startswith(f"{first}\nentry 1 of the audit log")
    assert throng("policy", "apply")[1] == "the files are in force already\n"
    edit(tmp_path, ("minimum_age = 18", "minimum_age = 21"), ("k = 20", "k = 10"))
    changes = [
        "Test network: minimum_age 18 -> 21 (tighter): at once",
        "Test network: k 20 -> 10 (looser): from the first epoch on",
    ]
    assert throng("policy", "apply", "--dry-run")[1].splitlines() == changes
    code, _, wrong = throng("policy", "apply")
    assert code == 2 and "this loosens something (Test network: k 20 -> 10 (looser))" in wrong
    assert len(Kafka.topics["audit"]) == 1
    code, said, _ = throng("policy", "apply", "--reason", "a pilot")
    assert (code, said.splitlines()[:2]) == (0, changes)
    # What is only tighter needs none.
    edit(tmp_path, ("k = 10", "k = 30"))
    assert throng("policy", "apply")[1].startswith("Test network: k 10 -> 30 (tighter): at once\nentry 3")
    edit(tmp_path, ("k = 30", "k = thirty"))
    code, _, wrong = throng("policy", "apply")
    assert code == 1 and wrong.count("\n") == 1 and "test.toml is not as expected" in wrong


def test_show_tells_what_is_in_force_or_what_the_files_would_begin_with(throng: Throng) -> None:
    assert "from the files: the deployment has not begun" in throng("policy", "show")[1]
    throng("policy", "apply", "--by", "me")
    _, said, _ = throng("policy", "show")
    assert "Germany (262): suspended: its events are dropped by their country code, nothing of it is released" in said
    assert "Test network (001): active" in said and "by me, " in said
    assert "counted is whoever granted it, from 18 years on, of networks 001-01; nobody in hospital" in said
    found = orjson.loads(throng("policy", "show", "--json")[1])
    assert {each["country"]: each["state"] for each in found["policies"]} == {
        "Germany": "suspended",
        "Test network": "active",
    }


def test_verify_finds_what_was_tampered_with_and_what_is_missing_at_the_end(throng: Throng) -> None:
    assert throng("audit", "verify")[1] == f"the audit log is whole: 0 entries; hash {'0' * 64}\n"
    throng("policy", "apply")
    head = throng("policy", "suspend", "208")[1].split()[-1]
    assert throng("audit", "verify", "--head", head)[1] == f"the audit log is whole: 2 entries; hash {head}\n"
    whole = list(Kafka.topics["audit"])
    Kafka.topics["audit"] = whole[:1]
    assert throng("audit", "verify")[0] == 0
    code, said, wrong = throng("audit", "verify", "--head", head, "--json")
    assert (code, orjson.loads(said)["whole"]) == (1, False)
    assert wrong == f"throng: the audit log lacks its end: it never had the hash {head}\n"
    # An epoch that was made by it tells the same.
    Kafka.topics["epochs"] = [msgspec.json.encode(replace(epochs_at(NOON)[0], audit=head))]
    code, _, wrong = throng("audit", "verify")
    assert code == 1 and "lacks its end: epoch 20260302 was made by rules of the hash" in wrong
    Kafka.topics["audit"] = whole
    assert throng("audit", "verify")[0] == 0
    Kafka.topics["audit"] = [whole[0].replace(b"adopt", b"apply"), whole[1]]
    assert throng("audit", "verify")[2] == "throng: record 0 of the audit log is not what its hash says\n"
    for arguments in (["policy", "show"], ["policy", "suspend", "299"], ["audit", "show"]):
        code, _, wrong = throng(*arguments)
        assert code == 1 and "see 'throng audit verify'" in wrong
    assert len(Kafka.topics["audit"]) == 2


def test_what_is_no_entry_is_passed_over_by_who_knows_the_last_ones_hash(throng: Throng) -> None:
    throng("policy", "apply")
    head = throng("policy", "suspend", "208")[1].split()[-1]
    code, _, wrong = throng("audit", "pass-over", "--head", head, "--reason", "a trial")
    assert (code, wrong) == (1, "throng: the audit log ends with an entry: there is nothing to pass over\n")
    Kafka.topics["audit"] += [b"a trial", b""]
    place = "throng: audit, partition 0, offset 2: the record is no entry, and none follows it"
    for arguments in (["audit", "verify"], ["audit", "show"], ["policy", "show"], ["policy", "suspend", "299"]):
        code, _, wrong = throng(*arguments)
        assert code == 1 and wrong.startswith(place) and wrong.count("\n") == 1
    for wrong_head in ("0" * 64, "a" * 64):
        code, _, wrong = throng("audit", "pass-over", "--head", wrong_head, "--reason", "a trial")
        assert (code, wrong) == (1, "throng: the last entry of the audit log has another hash than that of --head\n")
    assert throng("audit", "pass-over", "--head", head, "--reason", " ")[0] == 2
    assert len(Kafka.topics["audit"]) == 4
    code, said, _ = throng("audit", "pass-over", "--head", head.upper(), "--reason", "a trial")
    assert code == 0 and said.startswith("entry 3 of the audit log, by ")
    verified = throng("audit", "verify")[1]
    assert verified.startswith("the audit log is whole: 3 entries, and 2 records that throng did not write; hash ")
    assert throng("audit", "show")[1].splitlines()[-1].endswith("apply: a trial")
    assert "208" in throng("policy", "show")[1]


@pytest.mark.parametrize("head", ["5f1c", "", "g" * 64, "a" * 63, "a" * 65])
def test_what_is_no_whole_hash_is_no_sign_of_tampering(throng: Throng, head: str) -> None:
    throng("policy", "apply")
    code, said, wrong = throng("audit", "verify", "--head", head)
    assert (code, said) == (2, "")
    assert wrong == f"throng: --head is {head!r}, not a whole hash of 64 hexadecimal digits\n"
    assert throng("audit", "verify", "--head", "A" * 64)[0] == 1, "no hash of the log's"


def pem(folder: Path, name: str, *, secret: bytes = b"") -> tuple[Path, Path]:
    """A new Ed25519 key's files: private and public."""
    key = Ed25519PrivateKey.generate()
    how = BestAvailableEncryption(secret) if secret else NoEncryption()
    private, public = folder / f"{name}.key", folder / f"{name}.pub"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


def test_signed_decisions_are_told_from_others(throng: Throng, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (private, public), (other, other_public) = pem(tmp_path, "operator"), pem(tmp_path, "other")
    monkeypatch.setenv("THRONG_AUDIT_KEY", str(private))
    throng("policy", "apply")
    throng("policy", "suspend", "208")
    verify = ("audit", "verify", "--key", str(public))
    assert throng(*verify)[1].startswith("the audit log is whole: 2 entries, 2 of them signed; hash ")
    assert throng("audit", "verify")[0] == 0
    code, _, wrong = throng("audit", "verify", "--key", str(other_public))
    assert (code, "entry 1 of the audit log (adopt" in wrong, "is not signed by any" in wrong) == (1, True, True)
    # Its signature on other words, or in another place, is none; nor is none at all, or another's.
    whole = list(Kafka.topics["audit"])
    last = msgspec.json.decode(whole[1], type=Entry)
    forged = replace(last, by="somebody else")
    moved = replace(last, previous=msgspec.json.decode(whole[0], type=Entry).hash, at="2026-01-01T00:00:00Z")
    for wrong_one in (forged, moved, replace(last, signature=UNSET), replace(last, signature="zz")):
        Kafka.topics["audit"] = [whole[0], canonical(sealed(wrong_one))]
        assert throng("audit", "verify")[0] == 0
        assert "entry 2 of the audit log (suspend " in throng(*verify)[2]
    Kafka.topics["audit"] = whole
    monkeypatch.setenv("THRONG_AUDIT_KEY", str(other))
    throng("policy", "suspend", "001")
    assert "entry 3 of the audit log (suspend Test network" in throng(*verify)[2]
    assert throng(*verify, "--key", str(other_public))[0] == 0
    code, said, _ = throng(*verify, "--signed-from", "4", "--json")
    assert (code, orjson.loads(said)["signed"]) == (0, 2)


def test_a_key_that_cannot_sign_is_told_before_anything_is_decided(
    throng: Throng, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    private, public = pem(tmp_path, "operator")
    locked, _ = pem(tmp_path, "locked", secret=b"secret")
    for file, said in (
        (tmp_path / "none", "cannot read"),
        (locked, "is encrypted"),
        (public, "is no private key in PEM"),
    ):
        monkeypatch.setenv("THRONG_AUDIT_KEY", str(file))
        code, _, wrong = throng("policy", "apply")
        assert (code, wrong.count("\n")) == (2, 1) and wrong.startswith("throng: setting audit.key: ") and said in wrong
    assert not Kafka.topics.get("audit")
    code, _, wrong = throng("audit", "verify", "--key", str(private))
    assert code == 2 and "is no public key in PEM" in wrong


def test_a_broker_that_does_not_answer_is_told_in_a_line(throng: Throng, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(_: Kafka) -> None:
        raise OSError("no")

    monkeypatch.setattr(Kafka, "start", away)
    for arguments in (["policy", "show"], ["policy", "suspend", "299"], ["audit", "verify"], ["audit", "show"]):
        code, _, wrong = throng(*arguments)
        assert code == 1 and wrong.count("\n") == 1


def test_a_log_without_decisions_is_said_to_be_one(throng: Throng) -> None:
    assert throng("audit", "show")[1:] == (
        "",
        "nothing has been decided yet: the first gateway takes the files, or 'throng policy apply'\n",
    )
