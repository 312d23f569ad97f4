from .cache import cached_sweep as cached_sweep
from .dataset import (
    WorstCase as WorstCase,
)
from .dataset import (
    load as load,
)
from .dataset import (
    save as save,
)
from .dataset import (
    severity_order as severity_order,
)
from .dataset import (
    to_csv as to_csv,
)
from .dataset import (
    worst_case as worst_case,
)
from .noise_plane import noise_landscape as noise_landscape
from .sweeps import sweep as sweep
