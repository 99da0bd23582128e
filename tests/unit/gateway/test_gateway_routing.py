import pytest

from gateway.errors import MethodNotAllowedError, NoSuchRouteError
from gateway.routing import RouteConflictError, Router


@pytest.fixture
def router() -> Router[str]:
    router: Router[str] = Router()
    router.add("GET", "/orders", "list")
    router.add("POST", "/orders", "place")
    router.add("POST", "/orders/quote", "quote")
    router.add("GET", "/orders/{order_id}", "show")
    router.add("GET", "/orders/{order_id}/sub/{sub_id}", "part")
    return router


def test_a_literal_segment_wins_over_a_variable_one(router: Router[str]) -> None:
    assert router.find("POST", "/orders/quote") == ("quote", [])


def test_variable_segments_are_given_in_order(router: Router[str]) -> None:
    assert router.find("GET", "/orders/a/sub/b") == ("part", ["a", "b"])


def test_a_literal_that_leads_nowhere_is_tried_as_a_variable(router: Router[str]) -> None:
    assert router.find("GET", "/orders/quote/sub/b") == ("part", ["quote", "b"])


def test_slashes_at_the_end_and_doubled_ones_do_not_matter(router: Router[str]) -> None:
    assert router.find("GET", "//orders/") == ("list", [])


def test_head_is_served_where_get_is(router: Router[str]) -> None:
    assert router.find("HEAD", "/orders/a") == ("show", ["a"])


def test_an_unknown_path_is_no_route(router: Router[str]) -> None:
    with pytest.raises(NoSuchRouteError):
        router.find("GET", "/orders/a/nothing")


def test_the_stem_of_a_route_is_no_route(router: Router[str]) -> None:
    with pytest.raises(NoSuchRouteError):
        router.find("GET", "/orders/a/sub")


def test_another_method_is_refused_with_those_that_are_served(router: Router[str]) -> None:
    with pytest.raises(MethodNotAllowedError) as refused:
        router.find("DELETE", "/orders")

    assert refused.value.allowed == "GET, HEAD, OPTIONS, POST"


def test_the_methods_of_a_path_are_known(router: Router[str]) -> None:
    assert router.allowed("/orders/quote") == "OPTIONS, POST"


def test_the_methods_of_an_unknown_path_are_not(router: Router[str]) -> None:
    with pytest.raises(NoSuchRouteError):
        router.allowed("/nothing")


def test_one_route_cannot_be_claimed_twice(router: Router[str]) -> None:
    with pytest.raises(RouteConflictError):
        router.add("GET", "/orders/{other_name}", "again")
