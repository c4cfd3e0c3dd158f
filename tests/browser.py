"""A headless Chromium, driven through its DevTools protocol: keys pressed and files saved as a user would."""

import asyncio
import contextlib
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp

EXECUTABLE = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
KEYS = {"ArrowDown": 40, "ArrowUp": 38, "Enter": 13}


class Page:
    """One tab. `errors` holds whatever the page logs as an error or leaves uncaught."""

    def __init__(self, loop: asyncio.AbstractEventLoop, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.loop, self.socket, self.number, self.errors = loop, socket, 0, []

    def send(self, method: str, **values: Any) -> dict[str, Any]:
        return self.loop.run_until_complete(asyncio.wait_for(self._send(method, values), 60))

    async def _send(self, method: str, values: dict[str, Any]) -> dict[str, Any]:
        self.number += 1
        await self.socket.send_json({"id": self.number, "method": method, "params": values})
        while True:
            answer = await self.socket.receive_json()
            kind = answer.get("method", "")
            if kind == "Runtime.exceptionThrown" or (
                kind == "Runtime.consoleAPICalled" and answer["params"]["type"] == "error"
            ):
                self.errors.append(json.dumps(answer["params"])[:500])
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return answer["result"]

    def run(self, expression: str) -> Any:
        """The value of a JavaScript expression (or of what it promises) in the page."""
        found = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def press(self, key: str) -> None:
        code = KEYS.get(key, ord(key.upper()) if len(key) == 1 else 0)
        text = {"text": key} if len(key) == 1 else {}
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **text)

    def open(self, path: Path) -> None:
        self.send("Page.navigate", url=path.resolve().as_uri())
        self.wait("document.readyState === 'complete'")

    def wait(self, expression: str, seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        while not self.run(expression):
            assert time.monotonic() < end, f"waited for {expression}"
            time.sleep(0.05)


@contextlib.contextmanager
def opened(folder: Path, width: int = 1400, height: int = 900) -> Iterator[Page]:
    """A page whose profile (what it keeps) is in `folder`/profile and whose downloads go to
    `folder`/downloads."""
    port_file = folder / "profile" / "DevToolsActivePort"
    port_file.unlink(missing_ok=True)
    command = [EXECUTABLE, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"]
    command += [f"--user-data-dir={folder / 'profile'}", f"--window-size={width},{height}", "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    loop, session = asyncio.new_event_loop(), None
    try:
        end = time.monotonic() + 60
        while not (port_file.is_file() and "\n" in port_file.read_text()):
            assert time.monotonic() < end, "the browser did not start"
            time.sleep(0.05)
        address = f"http://127.0.0.1:{port_file.read_text().split()[0]}/json"

        async def connect() -> tuple[aiohttp.ClientSession, aiohttp.ClientWebSocketResponse]:
            session = aiohttp.ClientSession()
            async with session.get(address) as answer:
                (tab,) = [tab for tab in await answer.json() if tab["type"] == "page"]
            return session, await session.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0)

        session, socket = loop.run_until_complete(connect())
        page = Page(loop, socket)
        page.send("Runtime.enable")
        page.send("Page.enable")
        downloads = str(folder / "downloads")
        page.send("Browser.setDownloadBehavior", behavior="allow", downloadPath=downloads)
        yield page
        page.send("Browser.close")
        process.wait(timeout=30)  # what the page keeps is written
    finally:
        if session is not None:
            loop.run_until_complete(session.close())
        loop.close()
        process.kill()
        process.wait()
