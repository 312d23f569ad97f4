from .datasets import load_dataset as load_dataset
from .images import (
    load_image as load_image,
)
from .images import (
    picture_to_tensor as picture_to_tensor,
)
from .images import (
    tensor_to_picture as tensor_to_picture,
)
from .samples import find_sample as find_sample
from .samples import load_sample as load_sample
from .selection import Pictures as Pictures
