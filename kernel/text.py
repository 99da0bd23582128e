"""Text fields with the bounds that every boundary wants: no NUL, no control characters, a length."""

from typing import Annotated, Final

from msgspec import Meta

END: Final = r"$(?!\n)"
"""The end of a text, for patterns: in Python a bare ``$`` also matches before a last line feed."""

_PRINTABLE: Final = rf"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*{END}"
_LINE: Final = rf"^[^\x00-\x1f\x7f]*\S[^\x00-\x1f\x7f]*{END}"

Line = Annotated[str, Meta(min_length=1, max_length=200, pattern=_LINE)]
"""One line of text that is not blank, up to 200 characters."""

Word = Annotated[str, Meta(min_length=1, max_length=64, pattern=rf"^[^\x00-\x20\x7f]+{END}")]
"""A text without white space, up to 64 characters."""

Paragraph = Annotated[str, Meta(max_length=4000, pattern=_PRINTABLE)]
"""Several lines, up to 4 000 characters, perhaps empty."""

Email = Annotated[
    str,
    Meta(
        min_length=3,
        max_length=254,
        pattern=r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+" + END,
        examples=["asha@buyer.example"],
    ),
]
"""An e-mail address as people type it; compared without regard to case."""
