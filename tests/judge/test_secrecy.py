"""Secrets are known by parts of their variables' names and by their form, and never let out."""

from __future__ import annotations

import json
import os
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_sae.judge.secrecy import leaked, scrubbed

NAMES = [
    "OPENAI_API_KEY", "OPENAI_API_KEY_2", "HF_TOKEN", "client_secret", "DB_PASSWORD", "PGPASSWORD",
    "MYSQL_PWD", "AWS_SECRET_ACCESS_KEY", "SMTP_PASS", "GITHUB_PAT", "VAULT_TOKENS_OLD", "APIKEY",
    "MY_PASSWORD_FOR_TESTS", "SSH_PASSPHRASE", "SERVICE_CREDENTIALS", "HTTP_AUTH", "key",
    "LITELLM-KEY.1",
]  # fmt: skip
PLAIN = [
    "HOME", "PATH", "PWD", "OLDPWD", "TOKENIZERS_PARALLELISM", "COMPASS", "KEYBOARD", "LANG",
    "XDG_RUNTIME_DIR", "GIT_AUTHOR_NAME", "MAKEFLAGS", "PATTERN", "PASSED",
]  # fmt: skip
FORMS = [
    "sk-proj-abcdefghijklmnop1234", "sk-ant-api03-abcdefghijklmnop", "hf_abcdefghijklmnopqrst",
    "ghp_abcdefghijklmnopqrstuvwxyz0123", "github_pat_11ABCDEFG0abcdefghijkl", "xoxb-1234567890-ab",
    "glpat-abcdefghijklmnopqrst", "AKIAIOSFODNN7EXAMPLE", "AIzaSyA-abcdefghijklmnopqrstuvwxyz01",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dBjftJeZ4CVPmB92K27uhbUJU1p1",
]  # fmt: skip
# What a variable can hold: no NUL. Letters of a key, and what has to be escaped somewhere.
values = st.text(
    st.characters(min_codepoint=1, exclude_categories=("Cs",)) | st.sampled_from('"\\/%@:+ \n'),
    min_size=8,
    max_size=40,
)
around = st.text(st.sampled_from("xyz ,.\n"), max_size=20)


def environment(**variables: str) -> pytest.MonkeyPatch:
    """The variables and no others."""
    patch = pytest.MonkeyPatch()
    for name in list(os.environ):
        patch.delenv(name)
    for name, value in variables.items():
        patch.setenv(name, value)
    return patch


def spellings(value: str) -> list[str]:
    """The value as texts, JSON and addresses have it."""
    escaped = [json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]]
    return [value, *escaped, quote(value, safe="")]


@given(st.sampled_from(NAMES), values, around, around, st.integers(0, 3))
def test_a_secret_is_found_and_replaced_however_it_is_spelled(
    name: str, value: str, before: str, after: str, spelling: int
) -> None:
    spelled = spellings(value)[spelling]
    patch = environment(**{name: value})
    try:
        text = before + spelled + after
        assert leaked(text) == name
        assert spelled not in scrubbed(text)
        assert f"<{name}>" in scrubbed(text)
    finally:
        patch.undo()


@given(st.sampled_from(PLAIN), st.text(st.sampled_from("abc/:. "), min_size=8))
def test_what_is_no_secret_is_left_as_it_is(name: str, value: str) -> None:
    patch = environment(**{name: value})
    try:
        assert leaked(value) is None
        assert scrubbed(value) == value
    finally:
        patch.undo()


@pytest.mark.parametrize("secret", FORMS)
def test_a_value_of_the_form_of_a_secret_is_one_whatever_it_is_called(secret: str) -> None:
    patch = environment(LUNCH=f"it is {secret}")
    try:
        assert leaked(f"text {secret} text") == "LUNCH"
        assert secret not in scrubbed(f"it is {secret}!")
    finally:
        patch.undo()


@pytest.mark.parametrize("secret", FORMS)
def test_what_nobody_has_in_the_environment_is_not_told_either(secret: str) -> None:
    patch = environment()
    try:
        assert leaked(secret) is None  # texts of a corpus may hold such things
        assert scrubbed(f"Incorrect key: {secret}.") == "Incorrect key: <secret>."
    finally:
        patch.undo()


@given(st.text(st.sampled_from("abcXYZ019-_.~"), min_size=8, max_size=20))
def test_a_password_within_an_address_is_a_secret_and_the_address_is_not(password: str) -> None:
    patch = environment(DATABASE_URL=f"postgres://me:{password}@db.example.org/x")
    try:
        assert leaked(f"with {password} inside") == "DATABASE_URL"
        assert leaked("db.example.org") is None
        told = scrubbed(f"cannot reach https://you:{password}@elsewhere.org")
        assert password not in told
        assert "elsewhere.org" in told
    finally:
        patch.undo()
