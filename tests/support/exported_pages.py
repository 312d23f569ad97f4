"""What is in an exported page."""

from __future__ import annotations

import json
import re
from typing import Any


def data_of(page: str, name: str) -> Any:
    return json.loads(next(text for attributes, text in scripts_of(page) if f'id="{name}"' in attributes))


def without_scripts(page: str) -> str:
    return re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)


def scripts_of(page: str) -> list[tuple[str, str]]:
    return re.findall(r"<script([^>]*)>(.*?)</script>", page, flags=re.DOTALL)
