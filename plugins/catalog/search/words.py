"""The words of the trade: how a text falls into words, and which words mean the same thing.

A *concept* is written ``~rebar``. A product has the concepts of the phrases in its name, brand and
category; a search for any phrase of a concept finds all products that have it.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple

_TOKEN: Final = re.compile(r"[a-z]+|\d+(?:\.\d+)?[a-z]*|[^\x00-\x7f\s]+")
_MEASURES: Final = frozenset(
    ("mm", "cm", "m", "kg", "g", "ton", "inch", "in", "ft", "sqft", "cft", "l", "ltr", "hp", "sqmm")
)
_SAID_IN_PASSING: Final = frozenset(
    re.findall(
        r"\w+",
        "a an and at best buy by cost for from i in ka ke ki me need of on or per price rate "
        "the to want with",
    )
)

_CONCEPTS: Final[Mapping[str, str]] = {
    "rebar": (
        "tmt, tmt bar, tmt rod, sariya, saria, rebar, reinforcement bar, reinforcement steel, "
        "steel bar, steel rod, iron rod, tor steel, loha, saliya"
    ),
    "binding-wire": "binding wire, tie wire, bandhan taar",
    "msand": (
        "m sand, msand, manufactured sand, crushed sand, crusher sand, robo sand, artificial sand"
    ),
    "sand": "sand, ret, reti, balu, baalu, isuka",
    "aggregate": (
        "aggregate, coarse aggregate, jelly, jalli, gitti, kankar, kankara, crushed stone, "
        "stone chips, blue metal, stone metal, road metal, rodi, rori, bajri, ballast"
    ),
    "cement": "cement, simint",
    "opc": "opc, ordinary portland cement",
    "ppc": "ppc, portland pozzolana cement",
    "psc": "psc, portland slag cement, slag cement",
    "brick": "brick, eent, int, itukalu, ituka, laal eent",
    "fly-ash-brick": "fly ash brick, flyash brick, cement brick, ash brick",
    "aac-block": (
        "aac, aac block, autoclaved aerated concrete block, autoclaved block, aerated block, "
        "lightweight block, light weight block"
    ),
    "solid-block": "solid block, concrete block, cement block",
    "lime": "lime, chuna, choona",
    "plywood": "plywood, ply, ply board, ply wood",
    "tile": "tile, tiles, farsh",
    "paint": "paint, emulsion, distemper, rang",
    "putty": "putty, wall putty, wall care putty",
    "pipe": "pipe, nali, paip",
    "wire": "wire, cable, taar",
    "tank": "water tank, tanki, overhead tank",
    "mason": (
        "mason, mistri, mistry, raj mistri, raj mistry, rajmistri, bricklayer, mestri, maistry"
    ),
    "helper": (
        "helper, mazdoor, majdoor, coolie, kooli, beldar, unskilled, unskilled labour, labourer, "
        "construction helper, daily labour"
    ),
    "carpenter": "carpenter, badhai, barhai, lakdi mistri, vadrangi, shuttering carpenter",
    "bar-bender": "bar bender, barbender, rod binder, rod bender, steel fixer, sariya mistri",
    "plumber": "plumber, plumbing mistri, nal mistri, nalsaaz",
    "electrician": "electrician, bijli mistri, bijli wala, wireman, electrical mistri",
    "painter": "painter, rang mistri, rang wala, painting mistri",
    "tile-layer": "tile layer, tile mistri, tile fixer, tiles mistri, flooring mistri",
    "welder": "welder, welding mistri, fabricator",
    "labour": "labour, labor, worker, workers, manpower, kamgar, shramik",
}

_KNOWN_FOR: Final[Mapping[str, str]] = {
    "cement": "ultratech acc ambuja ramco dalmia penna birla jsw jaypee zuari nagarjuna maha sagar",
    "rebar": "tata tiscon sail vizag kamdhenu jindal neosteel radha",
    "paint": "asian berger nerolac dulux indigo",
    "pipe": "ashirvad astral supreme finolex prince",
    "wire": "havells polycab anchor",
    "tile": "kajaria somany nitco johnson",
    "plywood": "greenply centuryply",
    "aac-block": "siporex ultralite magicrete",
}
"""Names by which people ask for a thing. They count only where the catalogue has no such brand."""


class Term(NamedTuple):
    """One thing that a search asks for: the words as typed, and the concept that they name."""

    words: tuple[str, ...]
    concept: str | None


def words_of(text: str) -> tuple[str, ...]:
    """Split a text into folded words: ``12 mm TMT bars`` is ``12mm``, ``tmt``, ``bar``."""
    words: list[str] = []
    for word in _TOKEN.findall(unicodedata.normalize("NFKC", text).casefold()):
        if words and word in _MEASURES and words[-1].replace(".", "", 1).isdigit():
            words[-1] += word
        else:
            words.append(_singular(word))
    return tuple(words)


def measures_of(word: str) -> tuple[str, ...]:
    """Return what a bare number leaves unsaid: ``tmt 12`` asks for ``12mm`` as well. Nothing for other words."""
    if not word.isdigit():
        return ()
    return tuple(f"{word}{measure}" for measure in sorted(_MEASURES))


def concepts_of(words: tuple[str, ...]) -> frozenset[str]:
    """Return the concepts of all phrases in these words, also of those within longer ones."""
    spans = ((start, end) for start in range(len(words)) for end in _ends(start, len(words)))
    found = (PHRASES.get(words[start:end]) for start, end in spans)
    return frozenset(concept for concept in found if concept)


@lru_cache(maxsize=4096)
def terms_of(text: str) -> tuple[Term, ...]:
    """Return what a search text asks for: the longest phrases first taken, the rest word by word."""
    return tuple(_terms(words_of(text)))


def _terms(words: tuple[str, ...]) -> Iterator[Term]:
    start = 0
    while start < len(words):
        for end in reversed(_ends(start, len(words))):
            concept = PHRASES.get(words[start:end])
            if concept is not None:
                yield Term(words[start:end], concept)
                start = end
                break
        else:
            if words[start] not in _SAID_IN_PASSING:
                yield Term(words[start : start + 1], None)
            start += 1


def _ends(start: int, length: int) -> range:
    return range(start + 1, min(start + LONGEST_PHRASE, length) + 1)


def _singular(word: str) -> str:
    is_plural = len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is"))
    return word[:-1] if is_plural else word


def _phrases() -> dict[tuple[str, ...], str]:
    return {
        words_of(phrase): f"~{concept}"
        for concept, phrases in _CONCEPTS.items()
        for phrase in phrases.split(",")
    }


PHRASES: Final[Mapping[tuple[str, ...], str]] = MappingProxyType(_phrases())
"""Every phrase of every concept."""

LONGEST_PHRASE: Final = max(map(len, PHRASES))
CONCEPT_WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {words[0]: concept for words, concept in PHRASES.items() if len(words) == 1}
)
"""The concepts that one word names, for finding a misspelt one."""

KNOWN_FOR: Final[Mapping[str, str]] = MappingProxyType(
    {
        _singular(name): f"~{concept}"
        for concept, names in _KNOWN_FOR.items()
        for name in names.split()
    }
)
