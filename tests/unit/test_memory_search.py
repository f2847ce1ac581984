"""The search for secrets in memory finds what is there, wherever it lies."""

import random

import pytest

from tests.support.memory import PAGE, forms_of, found_in, written


@pytest.mark.parametrize("seed", range(20))
def test_it_finds_what_plain_search_finds(seed: int) -> None:
    rng = random.Random(seed)
    # Of few letters, zeros among them: they begin, end and nearly are there again and again.
    secrets = {str(n): bytes(rng.choices(range(3), k=rng.randint(1, 6))) for n in range(30)}
    blobs = [bytes(rng.choices(range(3), k=rng.randint(0, 80))) for _ in range(3)]
    assert found_in(blobs, secrets) == {name for name, secret in secrets.items() if any(secret in b for b in blobs)}


@pytest.mark.parametrize("seed", range(20))
def test_each_form_of_a_salt_is_found_between_zeros(seed: int) -> None:
    rng = random.Random(seed)
    secrets = forms_of(rng.randbytes(32), rng.randbytes(32))
    for name, secret in secrets.items():
        assert name in found_in([bytes(rng.randint(0, 99)) + secret + bytes(rng.randint(0, 99))], secrets)
        nearly = bytes(99) + secret[1:] + bytes(99), secret[:-1] + bytes([secret[-1] ^ 1])
        assert (name in found_in(nearly, secrets)) == any(secret in blob for blob in nearly)


@pytest.mark.parametrize("seed", range(20))
def test_it_is_found_in_what_is_left_of_a_region_without_its_pages_of_zeros(seed: int) -> None:
    rng = random.Random(seed)
    name, secret = rng.choice(list(forms_of(rng.randbytes(32), rng.randbytes(32)).items()))
    secret = rng.choice([secret, bytes(9) + secret, secret + bytes(9)])
    pages = 12
    at = rng.choice([0, rng.randint(0, pages * PAGE - len(secret)), PAGE * rng.randint(1, 11) - rng.randint(0, 30)])
    region = (bytes(at) + secret).ljust(pages * PAGE + rng.choice([0, 77]), b"\0")
    left = list(written(region))
    assert found_in(left, {name: secret}) == {name}
    assert sum(map(len, left)) <= 5 * PAGE + 77
    assert list(written(bytes(3 * PAGE))) == []
