from .base import Attack as Attack
from .base import AttackResult as AttackResult
from .base import misclassified as misclassified
from .base import targeted as targeted
from .factory import Combined as Combined
from .factory import make_attack as make_attack
from .linf import Linf as Linf
from .spatial import (
    FirstOrder as FirstOrder,
)
from .spatial import (
    GridSearch as GridSearch,
)
from .spatial import (
    Random as Random,
)
from .spatial import (
    Refine as Refine,
)
from .spatial import (
    WorstOfK as WorstOfK,
)
