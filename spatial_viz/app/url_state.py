"""The address of a view: a link decides what is shown, and the browser's address always says what is shown.

The session holds the choices of all pages. A link is read when a visitor arrives, and again when the browser goes back
or forward; a control takes up what the link says about it when it is drawn first. At the end of a run the browser gets
the address that says what is shown now. Streamlit's own ways (``bind="query-params"``, ``st.query_params``) do without
what the session knows when the page changes, add entries to the browser's history, and say nothing about a link that
asks for what does not exist.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from spatial_viz.app.components import address_bar

# What all pages have in common, and every address says where it is not as usual.
SHARED = ("classifier", "source", "picture", "pose", "rotation", "shift", "granularity", "padding")
# A change of one of these is a step that the browser's way back undoes.
PLACES = ("classifier", "picture", "source", "against", "compare", "step", "run")
LONGEST = 60  # characters of a link that are quoted


@dataclass
class Address:
    """What one session knows of its address."""

    linked: dict[str, list[str] | None]  # what a link says and nothing has taken up yet; None: the usual
    values: dict[str, Any] = field(default_factory=dict)  # choices of all pages that are not the usual ones
    page: str = ""
    shown: dict[str, None] = field(default_factory=dict)  # the names that the page has, in order
    instead: dict[str, str] = field(default_factory=dict)  # what is shown where that is not what was chosen
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)  # those of the pages seen so far
    fresh: set[str] = field(default_factory=set)  # taken from a link, and not yet judged
    faults: dict[str, str] = field(default_factory=dict)
    arrived: bool = True  # the run is the first one, or the first after going back or forward
    complete: bool = False  # all of the page is drawn

    def parameters(self) -> dict[str, str | list[str]]:
        """What the address of what is shown says: what all pages share, then what this page adds."""
        result: dict[str, str | list[str]] = {}
        for name in dict.fromkeys((*SHARED, *self.shown)):
            if name in self.instead:
                text: str | list[str] = self.instead[name]
            elif name in self.linked:  # for another page
                text = self.linked[name] or ""
            else:
                text = _text(self.values.get(name, ""))
            if text:
                result[name] = text
        return result


# --- A run of the app -----------------------------------------------------------------------------------------------


def arrive(page: str) -> bool:
    """Begin a run that shows ``page`` (its path in the address); True where the browser has gone back or forward."""
    context = get_script_run_ctx()
    returned = context is not None and context.is_history_navigation
    first = "address" not in st.session_state
    address = _address()
    if returned and not first:
        address.linked = _said()
        for name in (*SHARED, *address.names.get(page, ())):
            address.linked.setdefault(name, None)
    if returned or page != address.page:
        address.faults.clear()
    address.page, address.shown, address.instead = page, {}, {}
    address.arrived, address.complete = returned or first, False
    return returned


def finish(pages: Sequence[str]) -> list[str]:
    """End a run: the browser gets the address. ``pages``: the paths of all pages.

    Returns
    -------
    What to say about the link: sentences, one for each thing that it asks for and that does not exist.
    """
    address = _address()
    address.complete, address.names[address.page] = True, tuple(address.shown)
    st.session_state["address_pages"] = list(pages)
    write("address-page")
    return list(address.faults.values())


def write(key: str) -> None:
    """Give the browser the address, from a fragment that has run alone; ``key`` is the component's own."""
    address = _address()
    if address.complete:
        address_bar(
            {
                "number": time.time(),
                "query": urlencode(address.parameters(), doseq=True),
                "page": address.page,
                "pages": st.session_state.get("address_pages", []),
                "asked": asked_from(),
                "arrived": address.arrived,
                "places": PLACES,
            },
            key=key,
        )
        address.arrived = False


def asked_from() -> str:
    """The browser's address when it asked for this run; "" where that is not known."""
    context = get_script_run_ctx()
    if context is None or context.context_info is None:
        return ""
    return urlunsplit(urlsplit(context.context_info.url)._replace(query=context.query_string))


def switch_to(page: Any) -> None:
    """Show another page. With the parameters of this one: others would make an entry in the browser's history."""
    st.switch_page(page, query_params=parse_qsl(urlsplit(asked_from()).query, keep_blank_values=True))


def parameters() -> dict[str, str | list[str]]:
    """What the address of what is shown says; a list where a parameter stands there more than once."""
    return _address().parameters()


# --- Parameters without a control -----------------------------------------------------------------------------------


def get(name: str) -> str:
    """What a link or the visitor has chosen; "" for the usual."""
    address = _address()
    address.shown[name] = None
    if name in address.linked:
        linked = address.linked.pop(name)
        _keep(name, linked[-1] if linked else "", "")
        address.fresh.add(name)
    return str(address.values.get(name, ""))


def put(name: str, text: str) -> None:
    """Choose; "" chooses the usual."""
    address = _address()
    for known in (address.linked, address.faults, address.instead):
        known.pop(name, None)
    address.fresh.discard(name)
    _keep(name, text, "")


def show(name: str, text: str) -> None:
    """Say in the address that this is shown, whatever was chosen."""
    address = _address()
    address.shown[name] = None
    address.instead[name] = text


def judge(name: str, fault: str = "") -> None:
    """Say in a sentence what is wrong with the value that `get` gave, if it came from a link; "" if nothing is."""
    address = _address()
    if name in address.fresh:
        address.fresh.discard(name)
        if fault:
            say(name, fault)


def say(name: str, fault: str) -> None:
    """Say in a sentence why something else is shown than what was chosen."""
    _address().faults[name] = fault


def quoted(text: str) -> str:
    """What a link says, short enough to be repeated."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


# --- Controls -------------------------------------------------------------------------------------------------------


def assign(name: str, value: Any) -> None:
    """Set a control from outside; for callbacks."""
    address = _address()
    address.linked.pop(name, None)
    address.faults.pop(name, None)
    address.values[name] = st.session_state[name] = value


def selectbox(label: str, options: Iterable[Any], *, key: str, usual: Any = None, **more: Any) -> Any:
    """``st.selectbox`` whose choice the address says; ``usual`` is the one that it need not say, else the first."""
    offered = list(options)
    usual = offered[0] if usual is None else usual
    _hold(key, usual, _one_of(offered), lambda value: value in offered, "and there is no such choice")
    return _keep(key, st.selectbox(label, offered, key=key, **more), usual)


def segments(label: str, options: Iterable[str], *, key: str, **more: Any) -> str:
    """``st.segmented_control`` of which one is always chosen, the first as a rule, and the address says which."""
    offered = list(options)
    _hold(key, offered[0], _one_of(offered), lambda value: value in offered, "and there is no such choice")
    value = st.segmented_control(label, offered, required=True, key=key, **more)
    return str(_keep(key, value or offered[0], offered[0]))


def multiselect(label: str, options: Iterable[str], *, key: str, usual: Sequence[str] = (), **more: Any) -> list[str]:
    """``st.multiselect`` whose choices the address says; where nothing is chosen against the usual, an empty one."""
    offered = list(options)

    def parse(linked: list[str]) -> list[str] | None:
        known = [text for text in dict.fromkeys(linked) if text in offered]
        return known if known or linked == [""] else None

    _hold(key, list(usual), parse, lambda value: set(value) <= set(offered), "and there is no such choice")
    return list(_keep(key, st.multiselect(label, offered, key=key, **more), list(usual)))


def slider(label: str, low: int, high: int, usual: int, *, key: str, step: int = 1, **more: Any) -> int:
    """``st.slider`` of whole numbers whose value the address says."""

    def parse(linked: list[str]) -> int | None:
        text = linked[-1]
        number = int(text) if text.removeprefix("-").isdecimal() and text.isascii() and len(text) < 10 else None
        return number if number is not None and fits(number) else None

    def fits(value: Any) -> bool:
        return bool(low <= value <= high and (value - low) % step == 0)

    steps = f" in steps of {step}" if step > 1 else ""
    _hold(key, usual, parse, fits, f"and it goes from {low} to {high}{steps}")
    return int(_keep(key, st.slider(label, low, high, step=step, key=key, **more), usual))


def toggle(label: str, usual: bool, *, key: str, **more: Any) -> bool:
    """``st.toggle`` whose state the address says."""

    def parse(linked: list[str]) -> bool | None:
        return {"true": True, "false": False}.get(linked[-1].lower())

    _hold(key, usual, parse, lambda value: True, "and it is true or false")
    return bool(_keep(key, st.toggle(label, key=key, **more), usual))


# --- Inside ---------------------------------------------------------------------------------------------------------


def _address() -> Address:
    if "address" not in st.session_state:
        st.session_state["address"] = Address(linked=dict(_said()))
    address: Address = st.session_state["address"]
    return address


def _said() -> dict[str, list[str] | None]:
    return {name: st.query_params.get_all(name) for name in st.query_params}


def _hold(
    name: str, usual: Any, parse: Callable[[list[str]], Any], fits: Callable[[Any], bool], expected: str
) -> None:  # fmt: skip
    """Bring a control to what a link says, else to what was chosen, else to the usual."""
    address, state = _address(), st.session_state
    address.shown[name] = None
    if name in address.linked:
        linked = address.linked.pop(name)
        value = usual if linked is None else parse(linked)
        if value is None:
            value = usual
            words = ", ".join(usual) or "all" if isinstance(usual, list) else _text(usual)
            say(name, f"The link asks for {name} = {quoted(', '.join(linked or []))}, {expected}; "
                      f"{words} is shown instead.")  # fmt: skip
        state[name] = value
    elif name not in state:  # not drawn a moment ago, so Streamlit has forgotten it
        state[name] = address.values.get(name, usual)
    if not fits(state[name]):  # the choices have changed
        state[name] = usual


def _keep(name: str, value: Any, usual: Any) -> Any:
    address = _address()
    if value == usual:
        address.values.pop(name, None)
    else:
        address.values[name] = value
        address.faults.pop(name, None)
    return value


def _one_of(offered: list[Any]) -> Callable[[list[str]], Any]:
    return lambda linked: next((option for option in offered if str(option) == linked[-1]), None)


def _text(value: Any) -> str | list[str]:
    if isinstance(value, list | tuple):
        return list(map(str, value)) or [""]
    return str(value).lower() if isinstance(value, bool) else str(value)
