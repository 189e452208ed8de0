from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest

from mattebox.download import Address, NpmPackage, PyPIPackage, http
from mattebox.models.catalogue import (
    CATALOGUE,
    DEFAULT,
    Ensemble,
    Family,
    Variant,
    licence_warnings,
    members,
    network,
)

VARIANTS = [row for row in CATALOGUE.values() if isinstance(row, Variant)]
ENSEMBLES = [row for row in CATALOGUE.values() if isinstance(row, Ensemble)]


def test_every_row_is_found_under_its_own_name() -> None:
    assert all(name == row.name for name, row in CATALOGUE.items())
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9.-]*", name) for name in CATALOGUE)


def test_a_name_of_a_family_means_at_most_a_variant_of_it() -> None:
    # `u2net:/file` must mean the same whether `u2net` is read as the variant or as the family
    for family in Family:
        row = CATALOGUE.get(family.value)
        assert row is None or (isinstance(row, Variant) and row.family is family)


def test_every_family_has_a_variant() -> None:
    assert {row.family for row in VARIANTS} == set(Family)


@pytest.mark.parametrize("row", VARIANTS, ids=lambda row: row.name)
def test_a_variant_can_be_prepared_and_checked(row: Variant) -> None:
    assert row.size % 32 == 0
    assert all(scale > 0 for scale in row.scale)
    assert row.note.endswith(".")
    assert row.licence
    for checksum in (row.sha256, row.earlier_sha256):
        assert checksum is None or re.fullmatch("[0-9a-f]{64}", checksum)
    assert (row.sha256 is None) == (row.bytes is None)
    assert row.earlier_sha256 is None or row.sha256 not in (None, row.earlier_sha256)


@pytest.mark.parametrize("row", VARIANTS, ids=lambda row: row.name)
def test_nothing_is_fetched_that_could_not_be_checked(row: Variant) -> None:
    assert not row.sources or (row.sha256 is not None and row.bytes is not None)


@pytest.mark.parametrize("row", VARIANTS, ids=lambda row: row.name)
def test_sources_are_https_addresses_first_and_pinned_packages_then(row: Variant) -> None:
    order = [Address, NpmPackage, PyPIPackage]
    ranks = [order.index(type(source)) for source in row.sources]
    assert ranks == sorted(ranks)
    for source in row.sources:
        if isinstance(source, Address):
            assert source.url.startswith("https://")
        else:
            assert isinstance(source, NpmPackage | PyPIPackage)
            assert re.fullmatch(r"\d+(\.\d+)+", source.version)
            assert not source.member.startswith("/")
            assert ".." not in source.member


def test_without_internet_the_addresses_cost_less_than_five_seconds() -> None:
    addresses = [source.url for row in VARIANTS for source in row.sources if isinstance(source, Address)]
    hosts = {urlsplit(url).hostname for url in addresses}
    assert len(hosts) * http._REACH_SECONDS < 5


@pytest.mark.parametrize("row", VARIANTS, ids=lambda row: row.name)
def test_addresses_on_a_hub_are_pinned_to_a_revision(row: Variant) -> None:
    for source in row.sources:
        if isinstance(source, Address) and "/resolve/" in source.url:
            assert re.search("/resolve/[0-9a-f]{40}/", source.url)


@pytest.mark.parametrize("row", VARIANTS, ids=lambda row: row.name)
def test_a_row_says_how_much_memory_it_needs(row: Variant) -> None:
    assert row.memory > 1.5 * (row.bytes or 0)
    assert row.gpu == (row.size > 1024)


def test_the_small_networks_claim_no_quality_that_was_not_measured() -> None:
    measured = {"isnet-general", "u2net", "u2netp", "modnet-photographic"}
    for row in VARIANTS:
        assert row.name in measured or "Not measured by us" in row.note or not row.commercial


def test_checksums_are_not_shared() -> None:
    known = [row.sha256 for row in VARIANTS if row.sha256]
    assert len(known) == len(set(known))


@pytest.mark.parametrize("row", ENSEMBLES, ids=lambda row: row.name)
def test_an_ensemble_is_made_of_fetchable_variants(row: Ensemble) -> None:
    for member in (row.detail, row.core):
        variant = CATALOGUE[member]
        assert isinstance(variant, Variant)
        assert variant.sources


def test_the_default_may_be_used_commercially() -> None:
    assert all(member.commercial for member in members(network(DEFAULT)))
    assert licence_warnings(DEFAULT) == ()


def test_what_the_default_fetches_stays_below_a_hundred_megabytes() -> None:
    assert sum(member.bytes or 10**9 for member in members(network(DEFAULT))) <= 100_000_000


def test_the_members_of_a_row_are_its_networks() -> None:
    for row in ENSEMBLES:
        assert members(row) == (CATALOGUE[row.detail], CATALOGUE[row.core])
    for variant in VARIANTS:
        assert members(variant)[-1] is variant
        assert members(variant)[:-1] == (members(network(variant.rough)) if variant.rough else ())


@pytest.mark.parametrize("name", ["rmbg-2.0", "rmbg-2.0:/a.onnx", "both"])
def test_what_may_not_be_used_commercially_is_said_however_it_is_named(name: str) -> None:
    both = Ensemble(name="both", detail="rmbg-2.0", core="u2net", note="Both.")
    assert licence_warnings(name, {**CATALOGUE, "both": both}) == (
        "rmbg-2.0 may not be used commercially (CC-BY-NC-4.0).",
    )


@pytest.mark.parametrize("name", ["u2net", "birefnet:/a.onnx", "nothing", "nothing:/a.onnx", "both:/a.onnx", ""])
def test_of_nothing_else_a_warning_is_given(name: str) -> None:
    both = Ensemble(name="both", detail="rmbg-2.0", core="u2net", note="Both.")
    assert licence_warnings(name, {**CATALOGUE, "both": both}) == ()


def test_what_may_not_be_used_commercially_is_never_fetched() -> None:
    forbidden = [row for row in VARIANTS if not row.commercial]
    assert forbidden
    assert all(not row.sources and "NC" in row.licence for row in forbidden)
