from .loop import train as train
from .plan import TrainingPlan as TrainingPlan
from .plan import plan_from as plan_from
from .recipes import RECIPES as RECIPES
from .recipes import Recipe as Recipe
