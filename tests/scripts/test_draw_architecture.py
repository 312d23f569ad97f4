"""The picture of the packages: up to date, and no arrow that others say."""

from __future__ import annotations

from scripts.draw_architecture import PAGE, document, floors, needed, packages


def test_the_page_is_what_its_command_writes() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert document(page) == page, "make architecture"
    assert all(f"`{name}`" in page for name in packages())


def test_what_two_arrows_say_is_not_drawn_again() -> None:
    graph = {"a": {"b", "c"}, "b": {"c"}, "c": set(), "d": {"c"}}
    assert needed(graph) == [("a", "b"), ("b", "c"), ("d", "c")]
    assert floors(graph) == [["c"], ["b", "d"], ["a"]]
