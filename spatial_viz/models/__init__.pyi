from .classifier import Classifier as Classifier
from .inference import calibrate as calibrate
from .registry import catalogue as catalogue
from .registry import load_classifier as load_classifier
