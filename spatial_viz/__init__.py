"""spatial_viz: how far can an image classifier be trusted when the picture is merely rotated and shifted?

Public names are imported when they are first used, so that the command line answers ``--help`` at once.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
