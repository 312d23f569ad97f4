from .payload import Pane as Pane
from .payload import explorer_payload as explorer_payload
