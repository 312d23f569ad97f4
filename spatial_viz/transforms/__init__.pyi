from .geometry import warp as warp
from .grids import TransformGrid as TransformGrid
