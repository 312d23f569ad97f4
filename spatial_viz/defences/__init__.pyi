from .black_canvas import BlackCanvas as BlackCanvas
from .majority_vote import MajorityVote as MajorityVote
