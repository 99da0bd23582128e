"""Registering, logging in and out, as design.md §7 fixes it."""

from kernel.testing.market import PASSWORD, Market, Person, new_email


async def test_who_registers_learns_their_id_and_roles(market: Market) -> None:
    email = new_email("asha")
    account = {
        "email": email,
        "password": PASSWORD,
        "name": "Asha Rao",
        "role": "buyer",
        "phone": "+919812345670",
    }

    answer = await market.stranger.request("POST", "/identity/register", account)

    made = answer.json()
    assert answer.status_code == 201
    assert made.keys() == {"user_id", "email", "roles"}
    assert made["user_id"].startswith("user_")
    assert (made["email"], made["roles"]) == (email, ["buyer"])


async def test_an_address_registers_once(market: Market) -> None:
    buyer = await market.buyer()
    account = {"email": buyer.email, "password": PASSWORD, "name": "Other", "role": "buyer"}

    answer = await market.stranger.request("POST", "/identity/register", account)

    assert (answer.status_code, answer.json()["code"]) == (409, "identity.email_taken")


async def test_a_log_in_gives_a_bearer_and_a_refresh_token(market: Market) -> None:
    buyer = await market.buyer()
    body = {"email": buyer.email, "password": PASSWORD}

    answer = await market.stranger.request("POST", "/identity/login", body)

    tokens = answer.json()
    assert answer.status_code == 200
    assert tokens.keys() == {"access_token", "refresh_token", "token_type", "expires_in"}
    assert tokens["token_type"] == "Bearer"
    assert tokens["expires_in"] > 0


async def test_a_wrong_password_is_told_from_nothing(market: Market) -> None:
    buyer = await market.buyer()
    login = "/identity/login"

    wrong = await market.stranger.request(
        "POST", login, {"email": buyer.email, "password": "guessed it"}
    )
    nobody = await market.stranger.request(
        "POST", login, {"email": new_email("nobody"), "password": "guessed it"}
    )

    assert wrong.status_code == nobody.status_code == 401
    assert wrong.json()["code"] == nobody.json()["code"] == "identity.bad_credentials"
    assert wrong.json()["detail"] == nobody.json()["detail"]


async def test_a_refresh_token_renews_the_session_once(market: Market) -> None:
    buyer = await market.buyer()
    spent = {"refresh_token": buyer.tokens["refresh_token"]}

    renewed = await market.stranger.post("/identity/refresh", spent)
    again = await market.stranger.request("POST", "/identity/refresh", spent)

    assert renewed.keys() == {"access_token", "refresh_token", "token_type", "expires_in"}
    assert renewed["refresh_token"] != spent["refresh_token"]
    assert (again.status_code, again.json()["code"]) == (401, "identity.refresh_token_reused")


async def test_who_logged_out_cannot_refresh(market: Market) -> None:
    buyer = await market.buyer()
    body = {"refresh_token": buyer.tokens["refresh_token"]}

    out = await buyer.request("POST", "/identity/logout", body)
    refreshed = await market.stranger.request("POST", "/identity/refresh", body)

    assert (out.status_code, out.content) == (204, b"")
    assert refreshed.status_code == 401


async def test_me_tells_who_is_calling_and_what_they_may(market: Market) -> None:
    buyer = await market.buyer(name="Asha Rao")

    me = await buyer.get("/identity/me")

    assert me.keys() == {"user_id", "email", "name", "roles", "permissions"}
    assert (me["user_id"], me["email"], me["name"]) == (buyer.user_id, buyer.email, "Asha Rao")
    assert me["roles"] == ["buyer"]
    assert "orders:create" in me["permissions"]
    assert "vendors:approve" not in me["permissions"]


async def test_a_stranger_is_nobody(market: Market) -> None:
    answer = await Person(market.http).request("GET", "/identity/me")

    assert (answer.status_code, answer.json()["code"]) == (401, "gateway.token_missing")
    assert answer.headers["www-authenticate"] == "Bearer"
