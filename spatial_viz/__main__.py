"""``python -m spatial_viz``."""

from spatial_viz.cli.main import main

if __name__ == "__main__":
    main()
