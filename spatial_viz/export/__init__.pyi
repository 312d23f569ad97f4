from .html import explorer_page as explorer_page
from .html import landscape_page as landscape_page
from .html import to_html as to_html
from .video import save_animation as save_animation
