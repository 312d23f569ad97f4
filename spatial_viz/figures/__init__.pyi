from .accuracy import accuracy_figure as accuracy_figure
from .attacks import attack_map as attack_map
from .attacks import attack_surface as attack_surface
from .comparison import difference_map as difference_map
from .heatmaps import heatmap as heatmap
from .surfaces import surface as surface
from .worst_case import worst_case_figure as worst_case_figure
