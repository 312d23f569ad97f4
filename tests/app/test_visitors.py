"""Many visitors at once on a fresh server: real sessions over WebSocket, with other classifiers, pages and pictures."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from urllib.parse import urlencode

import pytest
from streamlit.proto.Alert_pb2 import Alert
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import ClientConnection, connect

from benchmarks.app import running_app
from spatial_viz.app.lecture.page import STEPS
from spatial_viz.data.samples import samples
from spatial_viz.models.registry import manifest

VISITORS = 40
PATIENCE = 480  # seconds, for all of them together; a minute or two on two cores that do nothing else
QUICK = {"granularity": "11,3,3"}  # a grid that takes a moment
PAGES = ("", "compare", "", "lecture", "results", "", "browse", "", "attack", "", "lecture")
STILL = {"rotation": "0", "shift": "0"}  # for attacks: by noise alone, since a search takes both cores for long


@dataclass
class Visit:
    """One page that a visitor opens, and what is wrong with what came back."""

    page: str
    query: dict[str, str]
    faults: list[str]
    elements: int = 0

    async def open(self, connection: ClientConnection, back: bool = False) -> None:
        """Ask for the page, as a browser does that opens a link or goes ``back``; read to the end of the answer."""
        asked = BackMsg()
        asked.rerun_script.query_string = urlencode(self.query)
        asked.rerun_script.page_name = self.page
        asked.rerun_script.is_history_navigation = back
        await connection.send(asked.SerializeToString())
        while True:
            told = ForwardMsg.FromString(await connection.recv(decode=False))
            kind = told.WhichOneof("type")
            if kind == "delta" and told.delta.WhichOneof("type") == "new_element":
                self.note(told.delta.new_element)
            if kind == "script_finished" and told.script_finished != ForwardMsg.FINISHED_EARLY_FOR_RERUN:
                if told.script_finished != ForwardMsg.FINISHED_SUCCESSFULLY:
                    self.faults.append(f"{self.where}: ended with {told.script_finished}")
                return

    def note(self, element: object) -> None:
        self.elements += 1
        kind = element.WhichOneof("type")  # type: ignore[attr-defined]
        if kind == "exception":
            self.faults.append(f"{self.where}: {element.exception.type} {element.exception.message}")  # type: ignore[attr-defined]
        elif kind == "alert" and element.alert.format == Alert.ERROR:  # type: ignore[attr-defined]
            self.faults.append(f"{self.where}: {element.alert.body}")  # type: ignore[attr-defined]

    @property
    def where(self) -> str:
        return f"/{self.page}?{urlencode(self.query)}"


def plans() -> Iterator[list[Visit]]:
    """What each visitor opens, one after the other: all shipped classifiers, all pages, other pictures."""
    names = [str(card.name) for card in manifest()]

    def planned(number: int, page: str, picture: bool = True) -> Visit:
        name = names[number % len(names)]
        several = samples(name.split("/")[0])
        query = QUICK | {"classifier": name}
        query |= {"picture": several[number % len(several)].name} if picture else {"padding": "edge"}
        query |= {"lecture": {"step": str(1 + number % len(STEPS))}, "attack": STILL}.get(page, {})
        return Visit(page, query, [])

    for number, page in enumerate(cycle(PAGES)):
        second = [planned(number + 5, PAGES[(number + 3) % len(PAGES)], picture=False)]
        yield [planned(number, page)] + second * (number % 4 == 1)


async def visit(url: str, plan: list[Visit]) -> None:
    address = f"{url.replace('http', 'ws', 1)}/_stcore/stream"
    async with connect(address, subprotocols=["streamlit"], max_size=None, open_timeout=PATIENCE) as connection:  # type: ignore[list-item]
        for number, each in enumerate(plan):
            await each.open(connection, back=number > 0)


def all_at_once(url: str, plans: list[list[Visit]]) -> None:
    """In a thread of its own: the browser of other tests keeps an event loop in this one."""

    async def together() -> None:
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*(visit(url, plan) for plan in plans))

    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, together()).result()


def healthy(url: str) -> bool:
    with urllib.request.urlopen(f"{url}/_stcore/health", timeout=30) as answer:
        return bool(answer.status == 200 and answer.read() == b"ok")


def test_forty_visitors_do_not_break_each_other(tmp_path: Path) -> None:
    everybody = list(islice(plans(), VISITORS))
    assert {plan[0].query["classifier"] for plan in everybody} == {card.name for card in manifest()}

    with running_app(tmp_path) as url:
        all_at_once(url, everybody)
        faults = [fault for plan in everybody for each in plan for fault in each.faults]
        assert not faults, f"{len(faults)} faults, the first of them: {faults[:3]}"
        assert all(each.elements > 10 for plan in everybody for each in plan), "a page came back nearly empty"
        assert healthy(url)
        late = [Visit("", QUICK | {"picture": "cifar10/12"}, []), Visit("compare", QUICK, [])]
        all_at_once(url, [late])
        assert not late[0].faults + late[1].faults
        assert healthy(url)
    log = (tmp_path / "app.log").read_text()
    assert "Traceback" not in log, log[log.index("Traceback") :][:3000]


@pytest.mark.parametrize("fault", ["exception", "alert"])
def test_a_fault_would_be_seen(fault: str) -> None:
    told = ForwardMsg()
    if fault == "exception":
        told.delta.new_element.exception.message = "module is not installed as a submodule"
    else:
        told.delta.new_element.alert.body = "no such weights"
        told.delta.new_element.alert.format = Alert.ERROR
    visit = Visit("compare", {"k": "1"}, [])
    visit.note(told.delta.new_element)
    assert len(visit.faults) == 1 and "/compare?k=1: " in visit.faults[0]
