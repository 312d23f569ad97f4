from .plan import EvaluationPlan as EvaluationPlan
from .report import Report as Report
from .report import report_on as report_on
from .run import evaluate as evaluate
