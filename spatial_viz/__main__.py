"""``python -m spatial_viz``."""

from spatial_viz.cli import main

if __name__ == "__main__":
    main()
