"""The example plugin, installed as a distribution of its own and loaded by that alone."""

import asyncio
import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from kernel.testing.system import ADMIN_EMAIL, ADMIN_PASSWORD, System, running_system

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "examples" / "favourites"
PASSWORD = "a password of the tests"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages into which the example has been installed, without RealServ itself."""
    folder = tmp_path_factory.mktemp("site")
    source = folder / "source"
    shutil.copytree(EXAMPLE, source, ignore=shutil.ignore_patterns(".*_cache", "__pycache__"))
    own = ROOT / ".uv" / "bin" / "uv"
    uv = str(own) if own.exists() else str(shutil.which("uv"))
    target = folder / "packages"
    command = [uv, "pip", "install", "-q", "--no-deps", "--python", sys.executable]
    subprocess.run([*command, "--target", str(target), str(source)], check=True, timeout=100)
    return target


@pytest.fixture(scope="module")
def installed(site: Path) -> Iterator[Path]:
    """The example among the packages of this process and of those that it starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(site))
        patch.setenv("PYTHONPATH", str(site))
        importlib.invalidate_caches()
        yield site


@pytest.fixture(scope="module")
async def system(installed: Path) -> AsyncIterator[System]:
    async with running_system() as running:
        yield running


async def logged_in(system: System, email: str, password: str) -> dict[str, str]:
    body = {"email": email, "password": password}
    answer = (await system.http.post("/identity/login", json=body)).raise_for_status()
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


async def registered(system: System, email: str, role: str) -> dict[str, str]:
    body = {"email": email, "password": PASSWORD, "name": "Asha", "role": role}
    (await system.http.post("/identity/register", json=body)).raise_for_status()
    return await logged_in(system, email, PASSWORD)


async def created(system: System, path: str, body: dict[str, Any], who: dict[str, str]) -> Any:
    answer = await system.http.post(path, json=body, headers=who)
    assert answer.is_success, answer.text
    return answer.json()


async def an_offer(system: System, seller: dict[str, str]) -> tuple[str, str]:
    admin = await logged_in(system, ADMIN_EMAIL, ADMIN_PASSWORD)
    firm = {
        "name": "Charminar Cement",
        "location": {"lat": 17.3616, "lon": 78.4747},
        "service_radius_km": 12,
        "orders_per_day": 20,
    }
    vendor_id = (await created(system, "/vendors", firm, seller))["vendor_id"]
    await created(system, f"/vendors/{vendor_id}/approve", {}, admin)
    product = {
        "name": "Cement PPC",
        "category": "cement",
        "kind": "material",
        "unit": "bag",
        "hsn": "2523",
    }
    product_id = (await created(system, "/catalog/products", product, seller))["product_id"]
    offer = {
        "product_id": product_id,
        "vendor_id": vendor_id,
        "sku": "PPC-1",
        "price": {"amount": 40_000, "currency": "INR"},
        "min_quantity": 1,
        "stock": 100,
    }
    return product_id, (await created(system, "/catalog/offers", offer, seller))["offer_id"]


async def until_noticed(system: System, buyer: dict[str, str]) -> Any:
    async with asyncio.timeout(20):
        while True:
            answer = await system.http.get("/favourites", headers=buyer)
            items = answer.raise_for_status().json()["items"]
            if items[0].get("notice"):
                return items
            await asyncio.sleep(0.1)


async def test_a_buyer_is_told_over_http_that_a_favourite_became_cheaper(system: System) -> None:
    buyer = await registered(system, "asha@buyer.example", "buyer")
    seller = await registered(system, "ravi@vendor.example", "vendor")
    product_id, offer_id = await an_offer(system, seller)

    added = await created(system, "/favourites", {"product_id": product_id}, buyer)
    changed = await system.http.patch(
        f"/catalog/offers/{offer_id}",
        json={"price": {"amount": 38_000, "currency": "INR"}},
        headers=seller,
    )
    items = await until_noticed(system, buyer)
    removed = await system.http.delete(f"/favourites/{product_id}", headers=buyer)
    left = await system.http.get("/favourites", headers=buyer)

    assert changed.is_success
    assert added["product_id"] == product_id
    assert [item["product_id"] for item in items] == [product_id]
    assert items[0]["notice"]["old_price"] == {"amount": 40_000, "currency": "INR"}
    assert items[0]["notice"]["new_price"] == {"amount": 38_000, "currency": "INR"}
    assert removed.status_code == 204
    assert left.json()["items"] == []


async def test_its_routes_want_a_log_in_and_stand_in_the_api_reference(system: System) -> None:
    refused = await system.http.get("/favourites")
    url = f"{system.supervisor.gateway_url}/schema/openapi.json"
    async with httpx.AsyncClient() as client:
        document = (await client.get(url)).json()

    assert refused.status_code == 401
    assert "/api/v1/favourites" in document["paths"]


async def test_its_own_tests_pass(site: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
        cwd=site.parent / "source",
        env={**os.environ, "PYTHONPATH": str(site)},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()

    assert process.returncode == 0, out.decode()
