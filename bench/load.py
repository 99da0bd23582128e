"""Load by ``wrk`` (a Debian package): a C program, so that the client costs as little as may be."""

import asyncio
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SECONDS = 6
CONNECTIONS = 32
THREADS = 2

SCRIPT = """
local requests = {{ {requests} }}
local count = 0
local seed = 0
local setup_count = 0
function setup(thread)
  setup_count = setup_count + 1
  thread:set("seed", setup_count)
end
function init(args)
  math.randomseed(seed * 7919)
  count = math.random(1, #requests)
end
function request()
  count = count % #requests + 1
  local one = requests[count]
  return wrk.format(one[1], one[2], one[3], one[4])
end
local bad = 0
function response(status, headers, body)
  if status >= 400 then bad = bad + 1 end
end
"""


@dataclass(frozen=True)
class Request:
    """One request of a mix."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""

    def lua(self) -> str:
        """Write as a Lua table."""
        headers = ", ".join(f"[{_quoted(name)}] = {_quoted(value)}" for name, value in self.headers)
        body = _quoted(self.body) if self.body else "nil"
        return f"{{ {_quoted(self.method)}, {_quoted(self.path)}, {{ {headers} }}, {body} }}"


@dataclass(frozen=True)
class Result:
    """What a run came to."""

    rate: float
    p50_ms: float
    p99_ms: float
    errors: int


def require_wrk() -> str:
    """Return the program; raises with the way to get it."""
    found = shutil.which("wrk")
    if found is None:
        raise SystemExit("make bench needs wrk: apt-get install wrk")
    return found


async def measure(
    url: str,
    requests: Sequence[Request],
    *,
    seconds: int = SECONDS,
    connections: int = CONNECTIONS,
) -> Result:
    """Ask as fast as answers come, and count; the first second warms up in a run of its own."""
    await _wrk(url, requests, 1, connections)
    return await _wrk(url, requests, seconds, connections)


async def _wrk(url: str, requests: Sequence[Request], seconds: int, connections: int) -> Result:
    text = SCRIPT.format(requests=", ".join(request.lua() for request in requests))
    with tempfile.NamedTemporaryFile("w", suffix=".lua", delete=False) as script:
        script.write(text)
    command = [
        require_wrk(),
        f"-t{min(THREADS, connections)}",
        f"-c{connections}",
        f"-d{seconds}s",
        "--latency",
        "-s",
        script.name,
        url,
    ]
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, check=True
    )
    await asyncio.to_thread(Path(script.name).unlink)
    return _read(done.stdout)


def _read(text: str) -> Result:
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    if rate is None:
        raise RuntimeError(f"wrk said nothing of a rate:\n{text}")
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    sockets = re.search(
        r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text
    )
    errors = int(bad[1]) if bad else 0
    errors += sum(int(number) for number in sockets.groups()) if sockets else 0
    return Result(float(rate[1]), _latency(text, "50%"), _latency(text, "99%"), errors)


def _latency(text: str, share: str) -> float:
    match = re.search(rf"{share}\s+([\d.]+)(us|ms|s)", text)
    if match is None:
        return float("nan")
    return float(match[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[match[2]]


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
