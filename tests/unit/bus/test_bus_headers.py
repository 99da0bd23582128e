"""Our reading of headers says the same as the client library's."""

from hypothesis import given
from hypothesis import strategies as st
from nats.aio.client import Client

from bus.connection import _QuickClient

LINES = st.lists(
    st.binary(max_size=40)
    | st.builds(
        lambda name, value: name + b":" + value,
        st.sampled_from(
            [b"ce-id", b" ce-id ", b"a b", b"", b"Nats-Sequence", b"\xc3\xa9", b"a\tb"]
        ),
        st.binary(max_size=20),
    )
)


@given(LINES)
def test_headers_are_read_as_the_library_reads_them(lines: list[bytes]) -> None:
    raw = b"\r\n".join(line.replace(b"\r\n", b"") for line in lines)

    assert _QuickClient._parse_header_lines(raw) == Client._parse_header_lines(raw)
