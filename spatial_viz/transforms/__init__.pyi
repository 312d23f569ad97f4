from .geometry import warp as warp
from .grids import TransformGrid as TransformGrid
from .transform import Transform as Transform
